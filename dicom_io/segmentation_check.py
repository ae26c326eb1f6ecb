"""Proving a segmentation object before it leaves: the bytes are read back and must say exactly what was meant.

A validator of syntax passes an object whose masks lie on the wrong slices. So every voxel is followed from the bytes
to its millimetres by arithmetic that shares nothing with the writer, and every frame to the source it was drawn on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_io.errors import InvalidSegmentation
from dicom_io.geometry import POSITION_TOLERANCE_MM, Float64, PlaneGeometry, affine_from_planes, kji_to_lps
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.segmentation_parts import Budget
from dicom_io.segmentation_reader import ReadFrame, ReadSegment, ReadSegmentation, read_segmentation
from dicom_io.segmentation_source import SourceHeaders, read_source_headers
from dicom_io.segmentation_types import Masks, SegmentDescription
from dicom_io.volume import Volume

CARRIED_TOLERANCE_MM = 1e-3
"""A frame's corner and the same corner of its source image: geometry is carried, only its decimal form may differ."""
GRID_TOLERANCE_MM = 5 * POSITION_TOLERANCE_MM
"""A frame's corner and the volume's grid, which evens out what the source's positions and orientations may differ by."""


@without_pydicom_warnings()
def check_segmentation(
    part10: bytes,
    volume: Volume,
    masks: Masks,
    segments: Sequence[SegmentDescription],
    headers: SourceHeaders | None = None,
    budget: Budget | None = None,
) -> None:
    """Raise InvalidSegmentation with every fault of the object, if it has any.

    `masks[n]`: (k, j, i) bool, the voxels that were meant of segment n + 1. Proven are: patient, study and frame of reference
    are the source's; every segment's label, codes and tracking; every frame's plane, voxels and reference; every segment's
    centroid in millimetres; that several segments together keep to `budget`. `headers`: those behind `volume`, where they were
    read already.
    """
    read = read_segmentation(part10)
    headers = headers or read_source_headers(volume)
    faults = [
        *carried_faults(read.header, headers),
        *_reference_faults(read.header, volume, headers),
        *_segment_faults(read.segments, segments),
        *_voxel_faults(read, volume, masks, headers),
        *_size_faults(read, budget or Budget()),
    ]
    if faults:
        raise InvalidSegmentation(f"segmentation: {len(faults)} faults, it must not be sent: {'; '.join(faults)}")


def place_frames(read: ReadSegmentation, affine: Float64) -> list[int | None]:
    """Return for each frame the slice k of the grid `affine` that it lies on by its own position; None where it lies on none."""
    return [_slice_of(frame.geometry, affine, read.rows, read.columns) for frame in read.frames]


def carried_faults(header: Dataset, headers: SourceHeaders) -> Iterator[str]:
    """Yield a fault for each attribute of patient and study that a result states in other words than its source."""
    for keyword, expected in headers.carried.items():
        if expected != str(header.get(keyword) or ""):
            # Values of patients stay out of messages, which end up in logs.
            yield f"{keyword}: expected the source's value, got another"


def _reference_faults(header: Dataset, volume: Volume, headers: SourceHeaders) -> Iterator[str]:
    frames_of_reference = [str(dataset.get("FrameOfReferenceUID") or "") for dataset in (headers.first, header)]
    if frames_of_reference != [volume.frame_of_reference_uid] * 2:
        yield f"FrameOfReferenceUID: expected {volume.frame_of_reference_uid!r} in source and result, got {frames_of_reference}"
    series = header.get("ReferencedSeriesSequence") or []
    referenced = {str(item.ReferencedSOPInstanceUID) for one in series for item in one.get("ReferencedInstanceSequence") or []}
    missing = {plane.sop_instance_uid for plane in headers.planes.values()} - referenced
    if len(series) != 1 or series[0].get("SeriesInstanceUID") != headers.first.SeriesInstanceUID or missing:
        yield f"ReferencedSeriesSequence: expected the source series alone, got {len(series)} series and {len(missing)} instances missing"
    if headers.lossy is not None and header.get("LossyImageCompression") != "01":
        yield f"LossyImageCompression: expected 01 as in the source, got {header.get('LossyImageCompression')}"


def _size_faults(read: ReadSegmentation, budget: Budget) -> Iterator[str]:
    frames = int(read.header.NumberOfFrames)
    octets = frames * read.rows * read.columns * int(read.header.BitsAllocated) // 8
    if len(read.segments) > 1 and not budget.holds(frames, octets):
        yield f"size: expected at most {budget}, got {frames} frames of {octets} bytes in all"


def _segment_faults(read: Sequence[ReadSegment], meant: Sequence[SegmentDescription]) -> Iterator[str]:
    expected_numbers, numbers = [segment.number for segment in meant], [segment.number for segment in read]
    if expected_numbers != numbers:
        yield f"segments: expected numbers {expected_numbers}, got {numbers}"
        return
    for expected, got in zip(meant, read, strict=True):
        for name in ("label", "algorithm_type", "category", "type", "laterality", "region", "tracking_id", "tracking_uid"):
            if getattr(expected, name) != getattr(got, name):
                yield f"segment {got.number} {name}: expected {getattr(expected, name)}, got {getattr(got, name)}"


def _voxel_faults(read: ReadSegmentation, volume: Volume, masks: Masks, headers: SourceHeaders) -> Iterator[str]:
    if (read.rows, read.columns) != volume.voxels.shape[1:]:
        yield f"frames: expected {volume.voxels.shape[1:]} rows and columns, got {(read.rows, read.columns)}"
        return
    placed: dict[tuple[int, int], int] = {}
    for index, (frame, k) in enumerate(zip(read.frames, place_frames(read, volume.affine), strict=True)):
        if k is None or k not in headers.planes or not 1 <= frame.segment_number <= len(masks):
            yield f"frame {index + 1}: expected a slice of the volume and a known segment, got position {frame.geometry.position_mm}"
        elif (frame.segment_number, k) in placed:
            yield f"frame {index + 1}: expected one frame for segment {frame.segment_number} on slice {k}, got a second"
        else:
            placed[frame.segment_number, k] = index
            yield from _frame_faults(index, frame, headers, k)
    for number, mask in enumerate(masks, start=1):
        yield from _mask_faults(number, mask, {k: index for (owner, k), index in placed.items() if owner == number}, read, volume, headers)


def _mask_faults(
    number: int, mask: NDArray[np.bool_], placed: Mapping[int, int], read: ReadSegmentation, volume: Volume, headers: SourceHeaders
) -> Iterator[str]:
    meant_mm: list[Float64] = []
    got_mm: list[Float64] = []
    for k in headers.planes:
        if k not in placed:
            differing = np.count_nonzero(mask[k]) if mask[k].any() else 0
        else:
            found, plane = read.mask(placed[k]), read.frames[placed[k]].geometry
            differing = 0 if np.array_equal(found, mask[k]) else np.count_nonzero(found != mask[k])
            got_mm.append(_moment_mm(found, affine_from_planes(plane, (0.0, 0.0, 0.0)), 0))
            meant_mm.append(_moment_mm(mask[k], volume.affine, k))
        if differing:
            yield f"segment {number} slice {k}: expected the voxels that were meant, got {differing} others"
    away_mm = float(np.linalg.norm(_centroid_mm(meant_mm) - _centroid_mm(got_mm)))
    if away_mm > GRID_TOLERANCE_MM:
        yield f"segment {number}: expected its centroid at {_centroid_mm(meant_mm).round(3)} mm, got {_centroid_mm(got_mm).round(3)} mm"


def _moment_mm(mask: NDArray[np.bool_], affine: Float64, k: int) -> Float64:
    """(x, y, z, 1) of the mean voxel of one slice, LPS millimetres, times the number of voxels."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not rows.size:
        return np.zeros(4)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    j = part.sum(axis=1) @ np.arange(rows[0], rows[-1] + 1)
    i = part.sum(axis=0) @ np.arange(columns[0], columns[-1] + 1)
    count = float(np.count_nonzero(part))
    return np.array([*(kji_to_lps(affine, [float(k), j / count, i / count]) * count), count])


def _centroid_mm(moments: Sequence[Float64]) -> Float64:
    total = np.sum([np.zeros(4), *moments], axis=0)
    return np.asarray(total[:3] / max(total[3], 1.0), np.float64)


def _frame_faults(index: int, frame: ReadFrame, headers: SourceHeaders, k: int) -> Iterator[str]:
    plane = headers.planes[k]
    # One orientation and one spacing hold for all frames: those of the first slice, from which the others may differ by a trifle.
    carried = replace(headers.first_plane.geometry, position_mm=plane.geometry.position_mm)
    away_mm = _distance_mm(frame.geometry, carried, int(headers.first.Rows), int(headers.first.Columns))
    if away_mm > CARRIED_TOLERANCE_MM:
        yield f"frame {index + 1}: expected the plane of source slice {k}, got one {away_mm:.4f} mm away"
    expected = (plane.sop_instance_uid, plane.frame_number, "YES")
    got = (frame.source_sop_instance_uid, frame.source_frame_number, frame.spatial_locations_preserved)
    if expected != got:
        yield f"frame {index + 1}: expected a derivation reference to instance, frame, preserved {expected}, got {got}"


def _slice_of(geometry: PlaneGeometry, affine: Float64, rows: int, columns: int) -> int | None:
    step = affine[:3, 0]
    k = round(float(np.dot(np.asarray(geometry.position_mm) - affine[:3, 3], step) / np.dot(step, step)))
    own = _corners_mm(affine_from_planes(geometry, step.tolist()), 0, rows, columns)
    grid = _corners_mm(affine, k, rows, columns)
    return k if float(np.linalg.norm(own - grid, axis=1).max()) <= GRID_TOLERANCE_MM else None


def _distance_mm(one: PlaneGeometry, other: PlaneGeometry, rows: int, columns: int) -> float:
    """Largest distance between the same corners of two planes, in millimetres."""
    first, second = (_corners_mm(affine_from_planes(plane, (0.0, 0.0, 0.0)), 0, rows, columns) for plane in (one, other))
    return float(np.linalg.norm(first - second, axis=1).max())


def _corners_mm(affine: Float64, k: int, rows: int, columns: int) -> Float64:
    """LPS millimetres of the four corner voxels of slice k, shape (4, 3)."""
    return kji_to_lps(affine, [[k, j, i] for j in (0, rows - 1) for i in (0, columns - 1)])
