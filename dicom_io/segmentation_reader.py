"""Reading a segmentation object with plain pydicom and our own arithmetic: no library interprets bits or places for us."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from dicom_io.codes import Code
from dicom_io.errors import InvalidSegmentation
from dicom_io.geometry import PlaneGeometry
from dicom_io.limits import MAXIMUM_SAMPLES
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.segmentation_types import LABEL_MAP_SEGMENTATION_STORAGE, SegmentationForm
from dicom_io.values import READING_ERRORS, in_words, is_damage, shown_uid, shown_word


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
    """One segment on one frame: whose segment it is, where it lies, and which source frame it was drawn on."""

    segment_number: int
    geometry: PlaneGeometry
    source_sop_instance_uid: str | None
    """None where the frame has no Derivation Image reference."""
    source_frame_number: int | None
    spatial_locations_preserved: str | None


@dataclass(frozen=True, kw_only=True)
class ReadSegmentation:
    """A segmentation object; `mask(n)` belongs to `frames[n]`. A frame of a label map stands there once for each label in it."""

    header: Dataset
    """Everything but the pixels."""
    form: SegmentationForm
    segments: tuple[ReadSegment, ...]
    frames: tuple[ReadFrame, ...]
    rows: int
    columns: int
    mask: Callable[[int], NDArray[np.bool_]]
    """(j, i) bool, unpacked when asked for: all at once are eight times as large as the file."""

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(frame, j, i), all of them."""
        every = [self.mask(index) for index in range(len(self.frames))]
        return np.stack(every) if every else np.zeros((0, self.rows, self.columns), np.bool_)


@without_pydicom_warnings()
def read_segmentation(source: Path | bytes) -> ReadSegmentation:
    """Read a Part 10 file, or its bytes, of either segmentation SOP class: native binary pixels, or a label map of 8 bits.

    Raises InvalidSegmentation if it is something else, or if an attribute that places a frame is absent.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
        form = _form(dataset)
        # A label map describes its background too, as number 0, which is nobody's segment.
        segments = tuple(_segment(item) for item in dataset.SegmentSequence if int(item.SegmentNumber))
        frames, mask = _READERS[form](dataset)
        rows, columns = int(dataset.Rows), int(dataset.Columns)
    except (*READING_ERRORS, RuntimeError) as error:
        raise _incomplete(error) from error
    except OSError as error:
        if not is_damage(error):
            raise
        raise _incomplete(error) from error
    del dataset.PixelData
    return ReadSegmentation(header=dataset, form=form, segments=segments, frames=frames, rows=rows, columns=columns, mask=mask)


def _incomplete(error: Exception) -> InvalidSegmentation:
    words = f"{in_words(error)} ({type(error).__name__})"
    return InvalidSegmentation(f"segmentation: expected a complete Part 10 segmentation object, got one that is damaged: {words}")


_Mask: TypeAlias = Callable[[int], NDArray[np.bool_]]

_KINDS = {
    (str(SegmentationStorage), "BINARY", 1, False): SegmentationForm.BINARY,
    (LABEL_MAP_SEGMENTATION_STORAGE, "LABELMAP", 8, False): SegmentationForm.LABELMAP,
    (LABEL_MAP_SEGMENTATION_STORAGE, "LABELMAP", 8, True): SegmentationForm.LABELMAP,
}
"""SOP Class, Segmentation Type, Bits Allocated and whether the pixels are encapsulated."""


def _form(dataset: Dataset) -> SegmentationForm:
    syntax = dataset.file_meta.TransferSyntaxUID
    kind = (str(dataset.SOPClassUID), str(dataset.SegmentationType), int(dataset.BitsAllocated), bool(syntax.is_encapsulated))
    if kind not in _KINDS:
        raise InvalidSegmentation(
            f"segmentation: expected native BINARY pixels or a LABELMAP of 8 bits, got SOP Class {shown_uid(kind[0])}, "
            f"type {shown_word(kind[1])}, {kind[2]} bits, transfer syntax {syntax.name}"
        )
    return _KINDS[kind]


def _binary(dataset: Dataset) -> tuple[tuple[ReadFrame, ...], _Mask]:
    """One frame a segment and slice. The first pixel is the least significant bit, frames follow without padding (PS3.5 8.1.1)."""
    items = dataset.PerFrameFunctionalGroupsSequence
    shared = _Shared(dataset)
    frames = tuple(_frame(shared, item, int(shared.group("SegmentIdentificationSequence", item).ReferencedSegmentNumber)) for item in items)
    shape = (int(dataset.Rows), int(dataset.Columns))
    area = shape[0] * shape[1]
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    count = int(dataset.NumberOfFrames)
    expected = (count * area + 7) // 8
    if count != len(frames) or packed.size != expected + expected % 2:
        raise InvalidSegmentation(
            f"segmentation: expected {count} frames in {expected + expected % 2} bytes, "
            f"got {len(frames)} frame items and {packed.size} bytes"
        )

    def mask(index: int) -> NDArray[np.bool_]:
        first, last = index * area, (index + 1) * area
        bits = np.unpackbits(packed[first // 8 : (last + 7) // 8], bitorder="little")
        return bits[first % 8 : first % 8 + area].view(np.bool_).reshape(shape)

    return frames, mask


def _labelmap(dataset: Dataset) -> tuple[tuple[ReadFrame, ...], _Mask]:
    """One frame a slice; a voxel's value is the number of its segment, 0 is the background."""
    claimed = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1) * int(dataset.get("SamplesPerPixel") or 1)
    if claimed > MAXIMUM_SAMPLES:
        raise InvalidSegmentation(f"segmentation: expected at most {MAXIMUM_SAMPLES} pixels, got a header that claims {claimed}")
    labels = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
    items = dataset.PerFrameFunctionalGroupsSequence
    if len(labels) != len(items):
        raise InvalidSegmentation(f"segmentation: expected {len(labels)} frame items, got {len(items)}")
    shared = _Shared(dataset)
    held = [
        (index, _frame(shared, item, int(number)))
        for index, (item, frame) in enumerate(zip(items, labels, strict=True))
        for number in np.flatnonzero(np.bincount(frame.ravel(), minlength=1))
        if number
    ]

    def mask(index: int) -> NDArray[np.bool_]:
        stored, frame = held[index]
        found: NDArray[np.bool_] = labels[stored] == frame.segment_number
        return found

    return tuple(frame for _, frame in held), mask


_READERS = {SegmentationForm.BINARY: _binary, SegmentationForm.LABELMAP: _labelmap}


class _Shared:
    """The functional groups that hold for all frames, and what their geometry says, worked out once."""

    def __init__(self, dataset: Dataset) -> None:
        self.groups: Dataset = dataset.SharedFunctionalGroupsSequence[0]
        self.plane = _plane(self.groups) if all(keyword in self.groups for keyword in _PLANE_GROUPS) else None

    def group(self, keyword: str, item: Dataset) -> Dataset:
        """The item of a frame's own group, else of the shared one; raises KeyError where there is neither."""
        holder = item if keyword in item else self.groups
        group: Dataset = holder[keyword].value[0]
        return group

    def plane_of(self, item: Dataset) -> _Plane:
        if self.plane is not None and not any(keyword in item for keyword in _PLANE_GROUPS):
            return self.plane
        merged = Dataset()
        for keyword in _PLANE_GROUPS:
            setattr(merged, keyword, [self.group(keyword, item)])
        return _plane(merged)


_PLANE_GROUPS = ("PixelMeasuresSequence", "PlaneOrientationSequence")
_Plane: TypeAlias = tuple[list[float], tuple[float, float]]


def _plane(groups: Dataset) -> _Plane:
    """Row and column cosines in one list, and (between rows, between columns) in mm."""
    cosines = [float(number) for number in groups.PlaneOrientationSequence[0].ImageOrientationPatient]
    spacing = groups.PixelMeasuresSequence[0].PixelSpacing
    return cosines, (float(spacing[0]), float(spacing[1]))


def _frame(shared: _Shared, item: Dataset, segment_number: int) -> ReadFrame:
    cosines, spacing = shared.plane_of(item)
    position = [float(number) for number in shared.group("PlanePositionSequence", item).ImagePositionPatient]
    derivation = (item.get("DerivationImageSequence") or [Dataset()])[0]
    references = derivation.get("SourceImageSequence") or [Dataset()]
    # Two references would leave open which of them was drawn on.
    reference = references[0] if len(references) == 1 else Dataset()
    number = reference.get("ReferencedFrameNumber")
    return ReadFrame(
        segment_number=segment_number,
        geometry=PlaneGeometry(
            position_mm=(position[0], position[1], position[2]),
            row_cosines=(cosines[0], cosines[1], cosines[2]),
            column_cosines=(cosines[3], cosines[4], cosines[5]),
            row_spacing_mm=spacing[0],
            column_spacing_mm=spacing[1],
        ),
        source_sop_instance_uid=_text(reference.get("ReferencedSOPInstanceUID")),
        source_frame_number=None if number is None else int(number),
        spatial_locations_preserved=_text(reference.get("SpatialLocationsPreserved")),
    )


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
