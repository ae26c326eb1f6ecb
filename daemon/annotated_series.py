"""DICOM series with the SEG and RTSTRUCT objects that outline them, as labelled volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from daemon.arrays import DEFAULT_PERCENTILES
from daemon.intensity_window import percentile_bounds
from daemon.windowing import to_frames
from dicom_io.annotations.annotation import Annotation
from dicom_io.annotations.collect import is_annotation_class, read_annotations
from dicom_io.annotations.placement import masks_on
from dicom_io.instance import InstanceHeader
from dicom_io.series import find_instances, group_by_series, judge_series
from dicom_io.volume_reader import read_volume
from model.training.volumes import LabelledVolume, label_maps

OUTLINING = (str(SegmentationStorage), str(RTStructureSetStorage))
"""SOP classes whose structures are taken for truth; measurements and screen drawings are not."""


def read_annotated_series(folder: Path, window: tuple[float, float] | None) -> Iterator[LabelledVolume]:
    """Read every series in `folder` and below that a SEG or RTSTRUCT there was drawn on; other series are left out.

    `window` (low, high) maps the intensities (default: percentiles 0.5 to 99.5). Structures that overlap come as volumes of their own.
    Raises `dicom_io.errors.RejectedInput` for a series that is no volume, `MalformedAnnotation` for outlines that are not flat.
    """
    groups = group_by_series(find_instances(folder))
    images = [headers for headers in groups.values() if not is_annotation_class(headers[0].sop_class_uid)]
    objects = [header for headers in groups.values() for header in headers if header.sop_class_uid in OUTLINING]
    if not objects:
        return
    annotations = read_annotations(objects, [header for headers in images for header in headers]).found
    for headers in images:
        drawn_here = [annotation for annotation in annotations if _drawn_on(annotation, headers)]
        if drawn_here:
            yield from _labelled(headers, drawn_here, window)


def _labelled(
    headers: tuple[InstanceHeader, ...], annotations: Sequence[Annotation], window: tuple[float, float] | None
) -> Iterator[LabelledVolume]:
    volume = read_volume(judge_series(headers))
    masks: dict[str, NDArray[np.bool_]] = {}
    for annotation, mask in masks_on(annotations, volume):
        name = annotation.label or annotation.source.item
        masks[name if name not in masks else f"{name} ({len(masks)})"] = mask
    frames = to_frames(volume.voxels, *(window or percentile_bounds(volume.voxels, DEFAULT_PERCENTILES, volume.padding)))
    # The end of the UID tells cases apart without naming a person.
    case = f"series {headers[0].series_instance_uid[-8:]}"
    for labels, structures in label_maps(masks):
        yield LabelledVolume(frames=frames, labels=labels, structures=structures, spacing_mm=volume.spacing_mm, case=case)


def _drawn_on(annotation: Annotation, headers: Sequence[InstanceHeader]) -> bool:
    """Whether an annotation names this series, or an image of it; a shared frame of reference alone does not make it the truth here."""
    uids = {header.sop_instance_uid for header in headers}
    return headers[0].series_instance_uid in annotation.series_uids or any(image.sop_instance_uid in uids for image in annotation.images)
