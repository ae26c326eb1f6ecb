"""One series: headers only, grouped, de-duplicated, ordered by position along the slice normal, and judged.

What is not one regular volume is refused with a typed reason: see `dicom_io.errors`. Handled oddities become quirks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_io.attributes import header_attributes
from dicom_io.errors import MissingGeometry, MixedGeometry, NotAVolume, NotDicom, TooFewSlices
from dicom_io.frame_attributes import numbers, plane_of_frame, slice_thickness_mm, whole_number
from dicom_io.geometry import Float64, PlaneGeometry, spacing_mm
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.sop_classes import expect_volume_images
from dicom_io.stack import JITTER_MM, MINIMUM_SLICES, order_stack

log = logging.getLogger(__name__)

THICKNESS_TOLERANCE = 0.01
"""Slice thickness and spacing that differ by less than this part are the same."""
MAXIMUM_FRAMES = 20000
"""A header that promises more frames is damaged or hostile; a whole-body CT at 0.5 mm has 4000."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesFrame:
    """One slice of a series: the instance it is stored in, its number in it (from 1) and its place."""

    header: InstanceHeader
    frame_number: int
    plane: PlaneGeometry


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A series that is one regular volume."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    headers: tuple[InstanceHeader, ...]
    """Every instance once, in the order of its first slice."""
    frames: tuple[SeriesFrame, ...]
    """`frames[k]` is the source of slice k; k ascends along row cosines x column cosines."""
    shape: tuple[int, int]
    """Rows and columns of every frame."""
    affine: Float64
    """4x4 float64, (k, j, i, 1) -> LPS millimetres, voxel centre."""
    frame_of_reference_uid: str
    """Empty where the instances do not state it."""
    attributes: Mapping[str, str | tuple[str, ...]]
    """DICOM keyword -> text, or texts where multi-valued, of the first slice's instance."""
    quirks: tuple[str, ...]


def find_instances(place: Path) -> tuple[InstanceHeader, ...]:
    """Read the headers of all DICOM files in a folder and below it, in the order of their paths, or of one file.

    Files that are not DICOM are passed over; their number goes to the log. Raises OSError if the place cannot be read.
    """
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    headers = []
    for path in files:
        try:
            headers.append(read_header(path))
        except NotDicom as error:
            log.debug("passed over: %s", error)
    log.info("%d DICOM instances found, %d other files passed over", len(headers), len(files) - len(headers))
    return tuple(headers)


def group_by_series(headers: Iterable[InstanceHeader]) -> dict[str, tuple[InstanceHeader, ...]]:
    """Return the headers by Series Instance UID, in the order in which each series and instance first came."""
    groups: dict[str, list[InstanceHeader]] = {}
    for header in headers:
        groups.setdefault(header.series_instance_uid, []).append(header)
    return {uid: tuple(group) for uid, group in groups.items()}


def read_series(paths: Sequence[Path]) -> Series:
    """Read the headers of one series, order its slices and judge whether they form one regular volume.

    Instances that were stored twice count once. Raises NotDicom, or the reason why the series is no volume:
    NoPixels, NotAVolume, MissingGeometry, MixedGeometry, DuplicatePositions, TooFewSlices, UnevenSpacing or GantryTilt.
    """
    return judge_series([read_header(path) for path in paths])


def judge_series(headers: Sequence[InstanceHeader]) -> Series:
    """Return the series that the headers form; raises what `read_series` does."""
    if not headers:
        raise TooFewSlices(f"expected at least {MINIMUM_SLICES} images of one series, got no instance")
    instances = _each_once(headers)
    _expect_one(instances, "Series Instance UID", [header.series_instance_uid for header in instances], NotAVolume)
    expect_volume_images(instances)
    shape = _shape(instances)
    reference = _expect_one(
        instances, "Frame of Reference UID", [str(header.dataset.get("FrameOfReferenceUID") or "") for header in instances], MixedGeometry
    )
    frames = _frames(instances)
    stack = order_stack([frame.plane for frame in frames], shape, lambda index: _named(frames[index]))
    ordered = tuple(frames[index] for index in stack.order)
    first = ordered[0].header
    return Series(
        series_instance_uid=first.series_instance_uid,
        study_instance_uid=first.study_instance_uid,
        modality=first.modality,
        headers=tuple(dict.fromkeys(frame.header for frame in ordered)),
        frames=ordered,
        shape=shape,
        affine=stack.affine,
        frame_of_reference_uid=reference,
        attributes=header_attributes(first.dataset),
        quirks=_quirks(
            {
                "duplicate-instances": len(instances) < len(headers),
                "filled-identity": any(header.filled for header in instances),
                "no-frame-of-reference": not reference,
                "position-jitter": stack.jitter_mm > JITTER_MM,
            },
            ordered,
            spacing_mm(stack.affine)[0],
        ),
    )


def _each_once(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    """The headers in the order of their paths, without those whose SOP Instance UID came before."""
    once: dict[str, InstanceHeader] = {}
    for header in sorted(headers, key=lambda header: str(header.path)):
        once.setdefault(header.sop_instance_uid, header)
    return list(once.values())


def _expect_one(instances: Sequence[InstanceHeader], what: str, values: Sequence[str], error: type[NotAVolume]) -> str:
    """Return the value that all instances share, else raise `error` with the first instance of each of two values."""
    for header, value in zip(instances, values, strict=True):
        if value != values[0]:
            raise error(
                f"the instances differ in {what}: {_label(instances[0])} has {values[0] or 'none'}, "
                f"{_label(header)} has {value or 'none'}; "
                "expected one for the whole series; send each volume as a series of its own"
            )
    return values[0]


def _shape(instances: Sequence[InstanceHeader]) -> tuple[int, int]:
    """Rows and columns, which must be those of every instance."""
    shapes = [(whole_number(header.dataset, "Rows"), whole_number(header.dataset, "Columns")) for header in instances]
    _expect_one(instances, "matrix (rows x columns)", [f"{rows} x {columns}" for rows, columns in shapes], MixedGeometry)
    return shapes[0]


def _frames(instances: Sequence[InstanceHeader]) -> list[SeriesFrame]:
    """Every frame of every instance with its place; raises MissingGeometry for the frames that have none."""
    total = sum(header.number_of_frames for header in instances)
    if total > MAXIMUM_FRAMES:
        raise NotAVolume(f"the series states {total} frames; expected at most {MAXIMUM_FRAMES}; split the series")
    frames, lost = [], []
    for header in instances:
        for number in range(1, header.number_of_frames + 1):
            plane = header.plane if header.number_of_frames == 1 else plane_of_frame(header.dataset, number)
            if plane is None:
                lost.append(f"{_label(header)} frame {number}")
            else:
                frames.append(SeriesFrame(header=header, frame_number=number, plane=plane))
    if lost:
        raise MissingGeometry(
            f"{len(lost)} of {total} frames have no place in the patient, the first is {lost[0]}; expected Image Position (Patient), "
            "perpendicular unit vectors as Image Orientation (Patient), and Pixel Spacing; send the original images"
        )
    return frames


def _quirks(known: Mapping[str, bool], frames: Sequence[SeriesFrame], spacing: float) -> tuple[str, ...]:
    thickness = slice_thickness_mm(frames[0].header.dataset, frames[0].frame_number)
    beyond = 0.0 if thickness is None else thickness / spacing - 1.0
    found = {**known, "overlapping-slices": beyond > THICKNESS_TOLERANCE, "gaps-between-slices": beyond < -THICKNESS_TOLERANCE}
    return tuple(sorted(code for code, is_so in found.items() if is_so))


def _named(frame: SeriesFrame) -> str:
    suffix = f" frame {frame.frame_number}" if frame.header.number_of_frames > 1 else ""
    return f"{_label(frame.header)}{suffix}"


def _label(header: InstanceHeader) -> str:
    """What a person at a PACS finds an image by."""
    instance_number = numbers(header.dataset, "InstanceNumber")
    return f"image {instance_number[0]:.0f}" if instance_number else f"image {header.sop_instance_uid}"
