"""The sheet of a result as a PNG: its targets outlined on the slices that show most of them, in the window of the first."""

from __future__ import annotations

from daemon.intensity_window import window_bounds
from daemon.pipeline import Segmented
from dicom_io.preview import overlay_sheet


def overlay_of(outcome: Segmented, most: int | None = None) -> bytes:
    """Return the sheet, with the first `most` targets where there are more. Raises ValueError where the window has no width."""
    objects, volume = outcome.objects, outcome.volume
    low, high = window_bounds(volume, objects.prompted[0].target)
    return overlay_sheet(
        volume.voxels,
        [result.mask for result in objects.results[:most]],
        [segment.label for segment in outcome.provenance.segments[:most]],
        ((low + high) / 2, high - low),
        pixel_spacing_mm=volume.spacing_mm[1:],
    )
