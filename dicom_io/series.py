"""One series: headers only, de-duplicated, split into its volumes, each ordered along its normal and judged.

What is no volume is refused with a typed reason (see `dicom_io.errors`); handled oddities become quirks of the volume.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_io.attributes import header_attributes
from dicom_io.codecs import why_undecodable
from dicom_io.errors import MissingGeometry, NotAVolume, NotDicom, RejectedInput, SeveralVolumes, TooFewSlices
from dicom_io.frame_attributes import plane_of_frame, whole_number
from dicom_io.gaps import GapPolicy
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.judging import judge_frames, judge_part
from dicom_io.limits import MAXIMUM_FRAMES
from dicom_io.slice_stack import Refused, SeriesFrame, SliceStack, label
from dicom_io.sop_classes import is_picture, why_no_slice

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A series, judged: what of it are volumes, what are cine or single pictures, and what is neither, with its reason."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    headers: tuple[InstanceHeader, ...]
    """Every instance once, in the order of their paths."""
    stacks: tuple[SliceStack, ...]
    """One a volume, in the order of what tells them apart (phase 1, phase 2, ...)."""
    pictures: tuple[InstanceHeader, ...]
    """Cine and single pictures without a place in the patient: `dicom_io.frame_reader` reads them."""
    refused: tuple[Refused, ...]

    @property
    def attributes(self) -> Mapping[str, str | tuple[str, ...]]:
        """DICOM keyword -> text, or texts where multi-valued, of the first slice's instance (the first instance's without a volume)."""
        return self.stacks[0].attributes if self.stacks else header_attributes(self.headers[0].dataset)

    @property
    def stack(self) -> SliceStack:
        """The one volume of the series. Raises the reason why there is none, or SeveralVolumes."""
        stacks = self.expect_stacks()
        if len(stacks) > 1:
            raise SeveralVolumes(
                f"the series holds {len(stacks)} volumes ({'; '.join(stack.split for stack in stacks)}); expected one; choose one of them"
            )
        return stacks[0]

    def expect_stacks(self) -> tuple[SliceStack, ...]:
        """Return the volumes; raises the reason why there is none, that of the largest part of the series."""
        if not self.stacks:
            raise self.refusal
        return self.stacks

    @property
    def refusal(self) -> RejectedInput:
        """Why the series is no volume: the reason of its largest part."""
        if self.refused:
            return max(self.refused, key=lambda one: len(one.headers)).error
        return NotAVolume(
            f"the series holds {len(self.pictures)} cine or single picture(s) without a place in the patient; "
            "expected CT, MR or PET slices; such pictures are read, but not segmented yet"
        )


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


def read_series(paths: Sequence[Path], gaps: GapPolicy = "refuse") -> Series:
    """Read the headers of one series and judge which volumes it holds.

    Instances that were stored twice count once. Raises NotDicom, TooFewSlices for no paths at all, and NotAVolume for
    instances of two series; whatever else is wrong stands in `refused`.
    """
    return judge_series([read_header(path) for path in paths], gaps)


def judge_series(headers: Sequence[InstanceHeader], gaps: GapPolicy = "refuse") -> Series:
    """Return the series that the headers form; raises what `read_series` does."""
    if not headers:
        raise TooFewSlices("expected images of one series, got no instance")
    instances = _each_once(headers)
    _expect_one_series(instances)
    pictures, slices, rest = _sorted_out(instances)
    frames, lost = _frames(slices)
    stacks, more = judge_frames(frames, gaps) if frames else ([], [])
    if len(instances) < len(headers):
        stacks = [replace(stack, quirks=tuple(sorted({*stack.quirks, "duplicate-instances"}))) for stack in stacks]
    first = stacks[0].headers[0] if stacks else instances[0]
    return Series(
        series_instance_uid=first.series_instance_uid,
        study_instance_uid=first.study_instance_uid,
        modality=first.modality,
        headers=tuple(instances),
        stacks=tuple(stacks),
        pictures=tuple(pictures),
        refused=(*more, *lost, *rest),
    )


def with_gap_policy(part: Refused, gaps: GapPolicy) -> SliceStack | Refused:
    """Judge a refused part again under another policy for gaps; the same where that changes nothing."""
    if part.part is None:
        return part
    try:
        return judge_part(part.part, gaps)
    except RejectedInput as error:
        return replace(part, error=error)


def _each_once(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    """The headers in the order of their paths, without those whose SOP Instance UID came before."""
    once: dict[str, InstanceHeader] = {}
    for header in sorted(headers, key=lambda header: str(header.path)):
        once.setdefault(header.sop_instance_uid, header)
    return list(once.values())


def _expect_one_series(instances: Sequence[InstanceHeader]) -> None:
    for header in instances[1:]:
        if header.series_instance_uid != instances[0].series_instance_uid:
            raise NotAVolume(
                f"the instances differ in Series Instance UID: {label(instances[0])} has {instances[0].series_instance_uid}, "
                f"{label(header)} has {header.series_instance_uid}; expected one for all; give each series on its own"
            )


def _sorted_out(instances: Sequence[InstanceHeader]) -> tuple[list[InstanceHeader], list[InstanceHeader], list[Refused]]:
    """Pictures, slices, and the instances that are neither: those with the same kind of reason together."""
    pictures, slices = [], []
    others: dict[tuple[str, str], list[tuple[InstanceHeader, RejectedInput]]] = {}
    for header in instances:
        if is_picture(header):
            error: RejectedInput | None = why_undecodable(header)
            if error is None:
                pictures.append(header)
                continue
        else:
            error = why_no_slice(header)
            if error is None:
                slices.append(header)
                continue
        others.setdefault((error.code, header.sop_class_uid), []).append((header, error))
    rest = []
    for found in others.values():
        error = found[0][1]
        told = error if len(found) == 1 else type(error)(f"{len(found)} instances; {error}")
        rest.append(Refused(error=told, headers=tuple(h for h, _ in found), attributes=header_attributes(found[0][0].dataset)))
    return pictures, slices, rest


def _frames(slices: Sequence[InstanceHeader]) -> tuple[list[SeriesFrame], list[Refused]]:
    """Every frame of every instance with its place, and a refusal of those that have none."""
    total = sum(header.number_of_frames for header in slices)
    if total > MAXIMUM_FRAMES:
        error: RejectedInput = NotAVolume(f"the series states {total} frames; expected at most {MAXIMUM_FRAMES}; split the series")
        return [], [Refused(error=error, headers=tuple(slices), attributes=header_attributes(slices[0].dataset))]
    frames, lost = [], []
    for header in slices:
        shape = whole_number(header.dataset, "Rows"), whole_number(header.dataset, "Columns")
        for number in range(1, header.number_of_frames + 1):
            plane = header.plane if header.number_of_frames == 1 else plane_of_frame(header.dataset, number)
            if plane is None:
                lost.append((header, number))
            else:
                frames.append(SeriesFrame(header=header, frame_number=number, plane=plane, shape=shape))
    if not lost:
        return frames, []
    header, number = lost[0]
    error = MissingGeometry(
        f"{len(lost)} of {total} frames have no place in the patient, the first is {label(header)} frame {number}; expected Image Position "
        "(Patient), perpendicular unit vectors as Image Orientation (Patient), and Pixel Spacing; send the original images"
    )
    headers = tuple(dict.fromkeys(header for header, _ in lost))
    return frames, [Refused(error=error, headers=headers, attributes=header_attributes(header.dataset))]
