"""The frames of a segmentation object: pixels, and the functional groups that say whose and where each frame is.

Groups are encoded once a slice and once a segment and then put together as bytes: a hundred slices of ten segments are a
thousand frames, whose items a general encoder takes seconds for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.valuerep import DSfloat

from dicom_io.errors import InvalidSegmentation
from dicom_io.segmentation_source import SourceHeaders, SourcePlane
from dicom_io.segmentation_types import Masks

MAXIMUM_LABELS = 255
"""Labels of 16 bits are read as 8 bits by a viewer in wide use, so a label map stays within them."""

_SEGMENTATION = DicomCode("113076", "DCM", "Segmentation")
"""Of CID 7203; pydicom's name `Segmentation` is another concept, the modality."""
_FRAMES_A_CHUNK = 8
"""Eight frames of any size fill whole bytes."""


@dataclass(frozen=True, kw_only=True)
class EncodedFrames:
    """What the frames add to the header of an object."""

    count: int
    functional_groups: bytes
    """The value of Per-Frame Functional Groups Sequence, Explicit VR Little Endian."""
    pixel_data: bytes
    """The value of Pixel Data: packed bits (BINARY), or one RLE fragment a frame (LABELMAP)."""
    encapsulated: bool

    def elements(self) -> Iterator[bytes]:
        """Yield both elements, encoded, in the order of their tags."""
        yield struct.pack("<HH2s2xI", 0x5200, 0x9230, b"SQ", len(self.functional_groups))
        yield self.functional_groups
        yield struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF if self.encapsulated else len(self.pixel_data))
        yield self.pixel_data
        if self.encapsulated:
            yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def binary_frames(masks: Masks, headers: SourceHeaders) -> EncodedFrames:
    """Encode one frame for each segment and slice with a voxel: segments in order, slices against the normal (as highdicom does).

    `masks[n]`: (k, j, i) bool, of segment n + 1.
    """
    places = [(n, k) for n, mask in enumerate(masks) for k in _written(occupied(mask), headers)]
    slices = _SliceGroups(headers, (k for _, k in places))
    owners = [_sequence(0x0062000A, _element(0x0062000B, b"US", struct.pack("<H", n + 1))) for n in range(len(masks))]
    groups = (
        slices.derivation[k] + _frame_content(n + 1, slices.rank[k]) + slices.position[k] + owners[n]
        for n, k in places
    )  # fmt: skip
    return EncodedFrames(
        count=len(places),
        functional_groups=b"".join(map(_item, groups)),
        pixel_data=_even(b"".join(_packed([masks[n][k] for n, k in places]))),
        encapsulated=False,
    )


def labelmap_frames(masks: Masks, headers: SourceHeaders) -> EncodedFrames:
    """Encode one frame for each slice with a voxel; a voxel's value is the number of its segment, 0 where there is none.

    Raises InvalidSegmentation where segments overlap or are more than 255.
    """
    if len(masks) > MAXIMUM_LABELS:
        raise InvalidSegmentation(f"segments: expected at most {MAXIMUM_LABELS} in a label map, got {len(masks)}; write BINARY")
    if overlapping(masks):
        raise InvalidSegmentation("segments: expected none that overlap in a label map, got some; write BINARY")
    held = [occupied(mask) for mask in masks]
    places = _written(np.any(held, axis=0), headers)
    slices = _SliceGroups(headers, places)
    groups = (slices.derivation[k] + _frame_content(slices.rank[k]) + slices.position[k] for k in places)
    frames = (_labels([(n + 1, mask[k]) for n, mask in enumerate(masks) if held[n][k]]) for k in places)
    return EncodedFrames(
        count=len(places),
        functional_groups=b"".join(map(_item, groups)),
        pixel_data=encapsulate([_run_length_encoded(frame) for frame in frames], has_bot=True),
        encapsulated=True,
    )


def occupied(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(k,) whether a slice of a (k, j, i) mask has a voxel."""
    return np.asarray(mask.reshape(len(mask), -1).any(axis=1), np.bool_)


def overlapping(masks: Masks) -> bool:
    """Return whether a voxel belongs to two segments."""
    held = np.array([occupied(mask) for mask in masks])
    for k in np.flatnonzero(held.sum(axis=0) > 1).tolist():
        seen: NDArray[np.bool_] = np.zeros(masks[0][k].shape, np.bool_)
        for n in np.flatnonzero(held[:, k]).tolist():
            if (seen & masks[n][k]).any():
                return True
            np.logical_or(seen, masks[n][k], out=seen)
    return False


def _written(held: NDArray[np.bool_], headers: SourceHeaders) -> list[int]:
    """Slices with a voxel, from the last to the first; a slice that was interpolated has no source to refer to, and no frame."""
    return [k for k in reversed(np.flatnonzero(held).tolist()) if k in headers.planes]


class _SliceGroups:
    """What all frames on one slice share, encoded once: where it lies, what it was drawn on, and its place among the slices."""

    def __init__(self, headers: SourceHeaders, slices: Iterable[int]) -> None:
        used = sorted(set(slices), reverse=True)
        self.rank: Mapping[int, int] = {k: number for number, k in enumerate(used, start=1)}
        self.derivation = {k: _encoded(_derivation(headers.planes[k])) for k in used}
        self.position = {k: _encoded(_plane_position(headers.planes[k])) for k in used}


def _derivation(plane: SourcePlane) -> Dataset:
    """The source frame that a frame was drawn on (PS3.3 C.7.6.16.2.6): without it some viewers count frames as if they were images."""
    source = Dataset()
    source.ReferencedSOPClassUID = plane.sop_class_uid
    source.ReferencedSOPInstanceUID = plane.sop_instance_uid
    if plane.frame_number is not None:
        source.ReferencedFrameNumber = plane.frame_number
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    derivation = Dataset()
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [hd.sr.CodedConcept.from_code(_SEGMENTATION)]
    group = Dataset()
    group.DerivationImageSequence = [derivation]
    return group


def _plane_position(plane: SourcePlane) -> Dataset:
    position = Dataset()
    position.ImagePositionPatient = [DSfloat(number, auto_format=True) for number in plane.geometry.position_mm]
    group = Dataset()
    group.PlanePositionSequence = [position]
    return group


def _frame_content(*indices: int) -> bytes:
    return _sequence(0x00209111, _element(0x00209157, b"UL", struct.pack(f"<{len(indices)}I", *indices)))


def _encoded(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def _element(tag: int, representation: bytes, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian with a length of 16 bits (PS3.5 table 7.1-2)."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, representation, len(value)) + value


def _sequence(tag: int, content: bytes) -> bytes:
    """A sequence of one item with defined lengths (PS3.5 tables 7.1-1 and 7.5-1)."""
    item = _item(content)
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, b"SQ", len(item)) + item


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _packed(frames: Sequence[NDArray[np.bool_]]) -> Iterator[bytes]:
    """Bits of frames that follow each other without padding, the first pixel in the lowest bit (PS3.5 section 8.1.1)."""
    for start in range(0, len(frames), _FRAMES_A_CHUNK):
        chunk = np.concatenate([frame.ravel() for frame in frames[start : start + _FRAMES_A_CHUNK]])
        yield np.packbits(chunk, bitorder="little").tobytes()


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _labels(planes: Sequence[tuple[int, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
    labels = np.zeros(planes[0][1].shape, np.uint8)
    for number, plane in planes:
        labels[plane] = number
    return labels


def _run_length_encoded(frame: NDArray[np.uint8]) -> bytes:
    encoded: bytes = RLELosslessEncoder.encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="MONOCHROME2",
        pixel_representation=0,
    )
    return encoded
