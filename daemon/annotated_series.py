"""DICOM series with the objects that outline them, as labelled volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import SegmentationStorage

from daemon.arrays import DEFAULT_PERCENTILES
from daemon.windowing import percentile_bounds, to_frames
from dicom_io.errors import InvalidSegmentation
from dicom_io.instance import InstanceHeader
from dicom_io.segmentation_check import place_frames
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.series import find_instances, group_by_series, judge_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume
from model.training.volumes import LabelledVolume, label_maps

Outlines = dict[str, NDArray[np.bool_]]
"""Structure name -> (k, j, i) bool on the grid of the series."""
ReadOutlines = Callable[[Path, Volume], Outlines]


def read_annotated_series(folder: Path, window: tuple[float, float] | None) -> Iterator[LabelledVolume]:
    """Read every series in `folder` and below that an object of a kind of `OUTLINE_READERS` refers to; other series are left out.

    `window` (low, high) maps the intensities (default: percentiles 0.5 to 99.5). Structures that overlap come as volumes of their own.
    Raises `dicom_io.errors.RejectedInput` for a series that is no volume, `InvalidSegmentation` for an unreadable outline.
    """
    groups = group_by_series(find_instances(folder))
    outlining: dict[str, list[InstanceHeader]] = {}
    for headers in groups.values():
        for header in headers:
            if header.sop_class_uid in OUTLINE_READERS:
                outlining.setdefault(_referenced_series(header), []).append(header)
    for uid, objects in outlining.items():
        if uid in groups:
            yield from _labelled(groups[uid], objects, window)


def masks_of_segmentation(path: Path, volume: Volume) -> Outlines:
    """Return each segment's mask on the grid of `volume`, every frame placed by its own position.

    Raises `InvalidSegmentation` if a frame lies on no slice.
    """
    read = read_segmentation(path)
    labels = {segment.number: f"{segment.number} {segment.label}" for segment in read.segments}
    masks = {label: np.zeros(volume.voxels.shape, np.bool_) for label in labels.values()}
    for frame, k, pixels in zip(read.frames, place_frames(read, volume.affine), read.masks, strict=True):
        if k is None or pixels.shape != volume.voxels.shape[1:]:
            raise InvalidSegmentation(f"{path.name}: expected every frame on a slice of its series, got one beside them; resample it first")
        masks[labels[frame.segment_number]][k] |= pixels
    return masks


OUTLINE_READERS: Mapping[str, ReadOutlines] = {str(SegmentationStorage): masks_of_segmentation}
"""SOP Class UID of an outlining object -> what reads its structures."""


def _labelled(
    headers: tuple[InstanceHeader, ...], objects: list[InstanceHeader], window: tuple[float, float] | None
) -> Iterator[LabelledVolume]:
    volume = read_volume(judge_series(headers))
    bounds = window or percentile_bounds(volume.voxels, DEFAULT_PERCENTILES, volume.padding)
    frames = to_frames(volume.voxels, *bounds)
    outlines: Outlines = {}
    for number, header in enumerate(objects, start=1):
        for name, mask in OUTLINE_READERS[header.sop_class_uid](header.path, volume).items():
            outlines[name if len(objects) == 1 else f"{number}: {name}"] = mask
    for labels, structures in label_maps({name: mask for name, mask in outlines.items() if mask.any()}):
        # The end of the UID tells cases apart without naming a person.
        case = f"series {headers[0].series_instance_uid[-8:]}"
        yield LabelledVolume(frames=frames, labels=labels, structures=structures, spacing_mm=volume.spacing_mm, case=case)


def _referenced_series(header: InstanceHeader) -> str:
    """Series Instance UID that an outlining object was drawn on (PS3.3 C.12.1.1.2.1); empty where it names none."""
    items = header.dataset.get("ReferencedSeriesSequence") or ()
    return str(items[0].SeriesInstanceUID) if items else ""
