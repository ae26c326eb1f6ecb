"""A judged series becomes a volume: every instance decoded, transformed and laid down in slice order."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_io.decode import decode_frames, expect_affordable
from dicom_io.errors import UndecodablePixels
from dicom_io.frame_attributes import frame_group
from dicom_io.instance import InstanceHeader
from dicom_io.intensity import modality_transform, padding_mask
from dicom_io.series import Series
from dicom_io.volume import SourceFrame, Volume

DECODING_THREADS = 2
"""Decoders give up Python's lock while they work; more threads than this only take memory from the model."""


def read_volume(series: Series) -> Volume:
    """Decode the pixels of a series into one volume: voxels (k, j, i) float32, k ascending along row x column cosines.

    Modality transform, signedness and padding are those of each instance (a PET series has a slope a slice). Padding
    takes the smallest value of the unpadded voxels, so that it looks like air and not like metal or a hole of -3024 HU.
    MONOCHROME1 is left alone. Slice k lies where `series.affine` says, to 0.03 mm, since the series was judged by it.
    Raises NoPixels or UndecodablePixels, and OSError if a file is gone.
    """
    rows, columns = series.shape
    slices = len(series.frames)
    expect_affordable(slices * rows * columns, f"series {series.series_instance_uid}")
    voxels = np.empty((slices, rows, columns), np.float32)
    padding = np.zeros((slices, rows, columns), np.bool_) if _states_padding(series) else None
    canvas = _Canvas(voxels=voxels, padding=padding)
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as pool:
        _finish(pool.map(lambda part: canvas.lay(part[0], part[1]), _parts(series)))
    return Volume(
        voxels=voxels,
        affine=series.affine,
        frame_of_reference_uid=series.frame_of_reference_uid,
        sources=tuple(
            SourceFrame(
                path=frame.header.path,
                sop_class_uid=frame.header.sop_class_uid,
                sop_instance_uid=frame.header.sop_instance_uid,
                frame_number=frame.frame_number,
            )
            for frame in series.frames
        ),
        quirks=tuple(sorted({*series.quirks, *_fill_padding(voxels, padding)})),
        padding=padding if padding is not None and padding.any() else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """The arrays that the threads fill, each thread its own slices."""

    voxels: NDArray[np.float32]
    padding: NDArray[np.bool_] | None

    def lay(self, header: InstanceHeader, slices: dict[int, int]) -> None:
        """Decode an instance and lay its frames down; `slices`: frame number (from 1) -> k."""
        stored = decode_frames(header)
        expected = (header.number_of_frames, *self.voxels.shape[1:])
        if stored.shape != expected:
            raise UndecodablePixels(
                f"{header.path.name}: expected frames, rows and columns {expected}, got {stored.shape}; send the image again"
            )
        for number, k in slices.items():
            frame = stored[number - 1]
            self.voxels[k] = modality_transform(frame_group(header.dataset, number, "PixelValueTransformationSequence"), frame)
            mask = padding_mask(header.dataset, frame)
            if self.padding is not None and mask is not None:
                self.padding[k] = mask


def _parts(series: Series) -> list[tuple[InstanceHeader, dict[int, int]]]:
    """Each instance with its frames: frame number -> k."""
    slices: dict[InstanceHeader, dict[int, int]] = {header: {} for header in series.headers}
    for k, frame in enumerate(series.frames):
        slices[frame.header][frame.frame_number] = k
    return list(slices.items())


def _states_padding(series: Series) -> bool:
    return any("PixelPaddingValue" in header.dataset for header in series.headers)


def _fill_padding(voxels: NDArray[np.float32], padding: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """Give padded voxels the smallest value of the others, in place; return the quirk if there were any."""
    if padding is None or not padding.any():
        return ()
    if not padding.all():
        voxels[padding] = voxels[~padding].min()
    return ("padding",)


def _finish(results: Iterable[None]) -> None:
    """Wait for all; the first error of a thread is raised here."""
    for _ in results:
        pass
