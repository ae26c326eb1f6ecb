"""Writing a segmentation object: masks become binary frames on the very planes of their source images.

One object holds the segments of one source series, on its grid and in its slice order, with native pixels in
Explicit VR Little Endian: what every viewer in use today can place. Every frame names the source frame it was drawn
on, since some viewers take the order of the frames for the order of the images where that reference is absent.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from dicom_io.codes import Code
from dicom_io.errors import InvalidSegmentation
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.result_header import creation_time, set_character_set, texts_of
from dicom_io.segmentation_frames import EncodedFrames, binary_frames, labelmap_frames, overlapping
from dicom_io.segmentation_header import complete_header, stand_in
from dicom_io.segmentation_source import SourceHeaders, read_source_headers
from dicom_io.segmentation_types import Masks, ResultIdentity, SegmentationForm, SegmentDescription
from dicom_io.volume import Volume

__all__ = ["ResultIdentity", "SegmentDescription", "SegmentationForm", "without_empty_segments", "write_segmentation"]

_ENCODERS = {SegmentationForm.BINARY: binary_frames, SegmentationForm.LABELMAP: labelmap_frames}
_TRANSFER_SYNTAXES = {SegmentationForm.BINARY: ExplicitVRLittleEndian, SegmentationForm.LABELMAP: RLELossless}


@without_pydicom_warnings()
def write_segmentation(
    volume: Volume,
    masks: Masks,
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
    *,
    form: SegmentationForm = SegmentationForm.BINARY,
    headers: SourceHeaders | None = None,
) -> bytes:
    """Return the Part 10 bytes of a segmentation object (PS3.3 A.51); equal input gives equal bytes.

    `masks[n]`: (k, j, i) bool on the grid of `volume`, of `segments[n]`, whose number is n + 1. A segment without voxels is
    described but has no frame. In a BINARY object segments may overlap. Text beyond ASCII is written in UTF-8 (ISO_IR 192).
    `headers`: those behind `volume`, where they were read already. Raises InvalidSegmentation for masks or segments that no
    object of this form can be made of, and whatever `read_source_headers` raises; ValueError for an identity that DICOM's
    value representations do not allow.
    """
    _check_meant(volume, masks, segments)
    headers = headers or read_source_headers(volume)
    frames = _ENCODERS[form](masks, headers)
    if not frames.count:
        raise InvalidSegmentation(
            f"masks: expected a voxel in at least one of {len(segments)} segments, got none; send a report instead, or check the prompt"
        )
    dataset = _header(volume, segments, identity, form, headers)
    complete_header(dataset, headers, identity)
    set_character_set(dataset, headers, (*texts_of(identity), *(text for segment in segments for text in segment.texts)))
    if form is SegmentationForm.BINARY:
        dataset.SegmentsOverlap = "YES" if overlapping(masks) else "NO"
    # highdicom shares what its only frame says; of several frames each says whose it is, as its dimension index asks for.
    dataset.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)
    dataset.NumberOfFrames = frames.count
    return _part10(dataset, frames)


def _header(
    volume: Volume, segments: Sequence[SegmentDescription], identity: ResultIdentity, form: SegmentationForm, headers: SourceHeaders
) -> Dataset:
    """The object with one frame that stands for all others."""
    created = creation_time(headers.first, identity.created)
    one_voxel = np.zeros((1, *volume.voxels.shape[1:]), np.uint8)
    one_voxel[0, 0, 0] = 1
    dataset: Dataset = hd.seg.Segmentation(
        source_images=[stand_in(headers, volume)],
        pixel_array=one_voxel,
        segmentation_type=hd.seg.SegmentationTypeValues(form.name),
        segment_descriptions=[_segment_item(segment, identity) for segment in segments],
        series_instance_uid=identity.series_instance_uid,
        series_number=identity.series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        manufacturer=identity.manufacturer,
        manufacturer_model_name=identity.manufacturer_model_name,
        software_versions=identity.software_versions,
        device_serial_number=identity.device_serial_number,
        content_description=identity.content_description,
        content_creator_name=identity.content_creator_name,
        content_label=identity.content_label,
        transfer_syntax_uid=_TRANSFER_SYNTAXES[form],
        omit_empty_frames=True,
        series_description=identity.series_description,
        content_date=created.date(),
        content_time=created.time(),
        series_date=created.date(),
        series_time=created.time(),
    )
    return dataset


def without_empty_segments(
    masks: NDArray[np.bool_], segments: Sequence[SegmentDescription]
) -> tuple[NDArray[np.bool_], tuple[SegmentDescription, ...]]:
    """Drop the segments without any voxel and number the others from 1; masks stay (segment, k, j, i)."""
    kept = [index for index in range(len(segments)) if masks[index].any()]
    return masks[kept], tuple(replace(segments[index], number=number) for number, index in enumerate(kept, start=1))


def _check_meant(volume: Volume, masks: Masks, segments: Sequence[SegmentDescription]) -> None:
    if len(masks) != len(segments):
        raise InvalidSegmentation(f"masks: expected one for each of {len(segments)} segments, got {len(masks)}")
    for segment, mask in zip(segments, masks, strict=True):
        if mask.dtype != np.bool_ or mask.shape != volume.voxels.shape:
            raise InvalidSegmentation(
                f"mask of {segment.label!r}: expected bool (k, j, i) of shape {volume.voxels.shape}, got {mask.dtype} of shape {mask.shape}"
            )
    numbers = [segment.number for segment in segments]
    if numbers != list(range(1, len(segments) + 1)):
        raise InvalidSegmentation(f"segments: expected the numbers 1 to {len(segments)} in order, got {numbers}; number them anew")


def _segment_item(segment: SegmentDescription, identity: ResultIdentity) -> hd.seg.SegmentDescription:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=identity.algorithm_name,
        family=codes.cid7162.ArtificialIntelligence,
        version=identity.algorithm_version,
        source=identity.manufacturer,
        parameters=dict(identity.algorithm_parameters),
    )
    item = hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label,
        segmented_property_category=_concept(segment.category),
        segmented_property_type=_concept(segment.type),
        algorithm_type=segment.algorithm_type,
        algorithm_identification=algorithm,
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        anatomic_regions=None if segment.region is None else [_concept(segment.region)],
        display_color=None if segment.color_rgb is None else hd.color.CIELabColor.from_rgb(*segment.color_rgb),
    )
    if segment.laterality is not None:
        modifier = hd.sr.CodedConcept.from_code(_concept(segment.laterality))
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return item


def _concept(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)


def _part10(dataset: Dataset, frames: EncodedFrames) -> bytes:
    """The header in pydicom's encoding and behind it, as their tags are the last ones, groups and pixels as they are."""
    del dataset.PerFrameFunctionalGroupsSequence, dataset.PixelData
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return b"".join((buffer.getvalue(), *frames.elements()))
