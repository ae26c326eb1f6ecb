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
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import Code
from dicom_io.errors import InvalidSegmentation
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.segmentation_header import carry_source_attributes, creation_time, refer_to_sources, stand_ins
from dicom_io.segmentation_source import SourceHeaders, read_source_headers
from dicom_io.segmentation_types import ResultIdentity, SegmentDescription
from dicom_io.volume import Volume

__all__ = ["ResultIdentity", "SegmentDescription", "without_empty_segments", "write_segmentation"]


@without_pydicom_warnings()
def write_segmentation(
    volume: Volume,
    masks: NDArray[np.bool_],
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
) -> bytes:
    """Return the Part 10 bytes of a segmentation object (PS3.3 A.51); equal input gives equal bytes.

    `masks`: (segment, k, j, i) bool on the grid of `volume`; `masks[n]` belongs to `segments[n]`, whose number is
    n + 1. Segments may overlap; a segment without voxels is described but has no frame. Text beyond ASCII is written
    in UTF-8 (ISO_IR 192). Raises InvalidSegmentation for masks or segments that no object can be made of, and
    whatever `read_source_headers` raises; ValueError for an identity that DICOM's value representations do not allow.
    """
    _check_meant(volume, masks, segments)
    headers = read_source_headers(volume)
    created = creation_time(headers.first, identity.created)
    dataset = hd.seg.Segmentation(
        source_images=stand_ins(headers, volume),
        pixel_array=_pixel_array(masks),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
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
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        series_description=identity.series_description,
        content_date=created.date(),
        content_time=created.time(),
        series_date=created.date(),
        series_time=created.time(),
    )
    refer_to_sources(dataset, headers)
    carry_source_attributes(dataset, headers, identity)
    character_set = _character_set(headers, segments, identity)
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    return _part10(dataset)


def without_empty_segments(
    masks: NDArray[np.bool_], segments: Sequence[SegmentDescription]
) -> tuple[NDArray[np.bool_], tuple[SegmentDescription, ...]]:
    """Drop the segments without any voxel and number the others from 1; masks stay (segment, k, j, i)."""
    kept = [index for index in range(len(segments)) if masks[index].any()]
    return masks[kept], tuple(replace(segments[index], number=number) for number, index in enumerate(kept, start=1))


def _check_meant(volume: Volume, masks: NDArray[np.bool_], segments: Sequence[SegmentDescription]) -> None:
    expected = (len(segments), *volume.voxels.shape)
    if masks.dtype != np.bool_ or masks.shape != expected:
        raise InvalidSegmentation(f"masks: expected bool (segment, k, j, i) of shape {expected}, got {masks.dtype} of shape {masks.shape}")
    numbers = [segment.number for segment in segments]
    if numbers != list(range(1, len(segments) + 1)):
        raise InvalidSegmentation(f"segments: expected the numbers 1 to {len(segments)} in order, got {numbers}; number them anew")
    if not masks.any():
        raise InvalidSegmentation(
            f"masks: expected a voxel in at least one of {len(segments)} segments, got none; send a report instead, or check the prompt"
        )


def _pixel_array(masks: NDArray[np.bool_]) -> NDArray[np.uint8 | np.uint16]:
    """One label a voxel, (k, j, i), where segments keep apart, which is several times faster to write; else (k, j, i, segment)."""
    labels = np.zeros(masks.shape[1:], np.uint8 if len(masks) < 256 else np.uint16)
    for number, mask in enumerate(masks, start=1):
        if labels[mask].any():
            return np.stack(list(masks), axis=-1).astype(np.uint8)
        labels[mask] = number
    return labels


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


def _character_set(headers: SourceHeaders, segments: Sequence[SegmentDescription], identity: ResultIdentity) -> str | Sequence[str] | None:
    """The source's own character set where our text fits into every one of them, UTF-8 else (PS3.3 C.12.1.1.2)."""
    coded = [code.meaning for segment in segments for code in (segment.category, segment.type, segment.laterality, segment.region) if code]
    told = [identity.series_description, identity.content_description, identity.content_creator_name, identity.manufacturer]
    named = [identity.manufacturer_model_name, identity.algorithm_name, *identity.algorithm_parameters.values()]
    labels = [text for segment in segments for text in (segment.label, segment.tracking_id)]
    if all(text.isascii() for text in (*coded, *told, *named, *labels)):
        own: str | Sequence[str] | None = headers.first.get("SpecificCharacterSet")
        return own or None
    return "ISO_IR 192"


def _part10(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
