"""Reading a segmentation object with plain pydicom and our own arithmetic: no library interprets bits or places for us."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from dicom_io.codes import Code
from dicom_io.errors import InvalidSegmentation
from dicom_io.geometry import PlaneGeometry
from dicom_io.quiet import without_pydicom_warnings


@dataclass(frozen=True, kw_only=True)
class ReadSegment:
    """One item of the Segment Sequence as it stands in the object; None where it is absent."""

    number: int
    label: str
    algorithm_type: str
    category: Code | None
    type: Code | None
    laterality: Code | None
    region: Code | None
    tracking_id: str | None
    tracking_uid: str | None


@dataclass(frozen=True, kw_only=True)
class ReadFrame:
    """One frame: whose segment it is, where it lies, and which source frame it was drawn on."""

    segment_number: int
    geometry: PlaneGeometry
    source_sop_instance_uid: str | None
    """None where the frame has no Derivation Image reference."""
    source_frame_number: int | None
    spatial_locations_preserved: str | None


@dataclass(frozen=True, kw_only=True)
class ReadSegmentation:
    """A binary segmentation object; `masks[n]` belongs to `frames[n]`."""

    header: Dataset
    """Everything but the pixels."""
    segments: tuple[ReadSegment, ...]
    frames: tuple[ReadFrame, ...]
    masks: NDArray[np.bool_]
    """(frame, j, i)."""


@without_pydicom_warnings()
def read_segmentation(source: Path | bytes) -> ReadSegmentation:
    """Read a Part 10 file, or its bytes, of the SOP Class Segmentation Storage with native binary pixels.

    Raises InvalidSegmentation if it is something else, or if an attribute that places a frame is absent.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
        _check_kind(dataset)
        frames = tuple(_frame(dataset, item) for item in dataset.PerFrameFunctionalGroupsSequence)
        segments = tuple(_segment(item) for item in dataset.SegmentSequence)
        masks = _unpack(dataset, len(frames))
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise InvalidSegmentation(f"segmentation: expected a complete Part 10 segmentation object, got one that lacks {error}") from error
    del dataset.PixelData
    return ReadSegmentation(header=dataset, segments=segments, frames=frames, masks=masks)


def _check_kind(dataset: Dataset) -> None:
    kind = (str(dataset.SOPClassUID), str(dataset.SegmentationType), int(dataset.BitsAllocated))
    if kind != (str(SegmentationStorage), "BINARY", 1) or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        raise InvalidSegmentation(
            f"segmentation: expected native BINARY pixels of Segmentation Storage, got SOP Class {kind[0]}, "
            f"type {kind[1]}, {kind[2]} bits, transfer syntax {dataset.file_meta.TransferSyntaxUID.name}"
        )


def _unpack(dataset: Dataset, frames: int) -> NDArray[np.bool_]:
    """Bits to booleans (frame, j, i): the first pixel is the least significant bit, frames follow without padding (PS3.5 8.1.1)."""
    shape = (int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns))
    count = shape[0] * shape[1] * shape[2]
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    expected = (count + 7) // 8
    if shape[0] != frames or packed.size != expected + expected % 2:
        raise InvalidSegmentation(
            f"segmentation: expected {shape[0]} frames in {expected + expected % 2} bytes, got {frames} frame items and {packed.size} bytes"
        )
    return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_).reshape(shape)


def _frame(dataset: Dataset, item: Dataset) -> ReadFrame:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = _group("PixelMeasuresSequence", item, shared)
    cosines = [float(number) for number in _group("PlaneOrientationSequence", item, shared).ImageOrientationPatient]
    position = [float(number) for number in _group("PlanePositionSequence", item, shared).ImagePositionPatient]
    derivation = (item.get("DerivationImageSequence") or [Dataset()])[0]
    references = derivation.get("SourceImageSequence") or [Dataset()]
    # Two references would leave open which of them was drawn on.
    reference = references[0] if len(references) == 1 else Dataset()
    number = reference.get("ReferencedFrameNumber")
    return ReadFrame(
        segment_number=int(_group("SegmentIdentificationSequence", item, shared).ReferencedSegmentNumber),
        geometry=PlaneGeometry(
            position_mm=(position[0], position[1], position[2]),
            row_cosines=(cosines[0], cosines[1], cosines[2]),
            column_cosines=(cosines[3], cosines[4], cosines[5]),
            row_spacing_mm=float(measures.PixelSpacing[0]),
            column_spacing_mm=float(measures.PixelSpacing[1]),
        ),
        source_sop_instance_uid=_text(reference.get("ReferencedSOPInstanceUID")),
        source_frame_number=None if number is None else int(number),
        spatial_locations_preserved=_text(reference.get("SpatialLocationsPreserved")),
    )


def _group(keyword: str, item: Dataset, shared: Dataset) -> Dataset:
    holder = item if keyword in item else shared
    group: Dataset = holder[keyword].value[0]
    return group


def _segment(item: Dataset) -> ReadSegment:
    types = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    return ReadSegment(
        number=int(item.SegmentNumber),
        label=str(item.SegmentLabel),
        algorithm_type=str(item.get("SegmentAlgorithmType", "")),
        category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
        type=_code(item, "SegmentedPropertyTypeCodeSequence"),
        laterality=_code(types[0], "SegmentedPropertyTypeModifierCodeSequence"),
        region=_code(item, "AnatomicRegionSequence"),
        tracking_id=_text(item.get("TrackingID")),
        tracking_uid=_text(item.get("TrackingUID")),
    )


def _code(holder: Dataset, keyword: str) -> Code | None:
    items = holder.get(keyword)
    if not items:
        return None
    return Code(value=str(items[0].CodeValue), scheme=str(items[0].CodingSchemeDesignator), meaning=str(items[0].CodeMeaning))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
