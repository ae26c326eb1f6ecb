"""From the slices of a series to its volumes: split where they must be, ordered, and each judged or refused with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dicom_io.attributes import header_attributes
from dicom_io.codecs import why_undecodable
from dicom_io.errors import DuplicatePositions, MixedGeometry, NotAVolume, RejectedInput, TooFewSlices, UnevenSpacing
from dicom_io.frame_attributes import slice_thickness_mm
from dicom_io.gaps import GapPolicy, close_gaps
from dicom_io.geometry import slice_distance_mm
from dicom_io.slice_stack import Part, Refused, SeriesFrame, SliceStack, headers_of
from dicom_io.splitting import (
    SMALLEST_PART,
    by_attributes,
    by_geometry,
    described_grid,
    frame_of_reference,
    has_duplicates,
    without_repeats,
)
from dicom_io.stack import JITTER_MM, Stack, order_stack
from dicom_io.suv import pet_scale
from dicom_io.values import shown_uid, text_of

THICKNESS_TOLERANCE = 0.01
"""Slice thickness and spacing that differ by less than this part are the same."""

Judged = tuple[list[SliceStack], list[Refused]]


def judge_frames(frames: Sequence[SeriesFrame], gaps: GapPolicy) -> Judged:
    """Return the volumes that the slices of a series form, and what is left with its reason. Never raises a RejectedInput."""
    try:
        parts = by_geometry(frames)
    except MixedGeometry as error:
        return [], [refused(error, frames)]
    stacks: list[SliceStack] = []
    rest: list[Refused] = []
    for part in parts:
        found, left = _judge_grid(part, gaps, alone=len(parts) == 1)
        stacks += found
        rest += left
    if len(parts) > 1 and not stacks:
        return [], [_mixed(parts, frames, rest)]
    return stacks, rest


def judge_part(part: Part, gaps: GapPolicy) -> SliceStack:
    """Order parallel frames and judge them as one volume.

    Raises UnevenSpacing, DuplicatePositions, TooFewSlices, GantryTilt or UndecodablePixels.
    """
    frames = part.frames
    planes, name = [frame.plane for frame in frames], lambda index: frames[index].name
    closed = ""
    try:
        stack = order_stack(planes, name, slice_thickness_mm(frames[0].header.dataset, frames[0].frame_number))
    except UnevenSpacing:
        if gaps == "refuse":
            raise
        stack, closed = close_gaps(planes, name, gaps), gaps
    undecodable = next((why for why in map(why_undecodable, headers_of(frames)) if why is not None), None)
    if undecodable is not None:
        raise undecodable
    return _stack(part, stack, closed)


def refused(error: RejectedInput, frames: Sequence[SeriesFrame], part: Part | None = None) -> Refused:
    """Return frames that are no volume, with the reason."""
    headers = headers_of(frames)
    return Refused(error=error, headers=headers, attributes=header_attributes(headers[0].dataset), part=part)


def _judge_grid(part: Part, gaps: GapPolicy, *, alone: bool) -> Judged:
    """Judge frames of one geometry, split by attributes where they are no one volume."""
    if len(part.frames) < SMALLEST_PART and not alone:
        return [], [refused(_leftover(part), part.frames)]
    if not has_duplicates(part.frames):
        return _judge_or_split(part, gaps)
    parts = by_attributes(part, lambda frames: True)
    if parts:
        return _judge_all(parts, gaps)
    once = without_repeats(part)
    if once is not None:
        return _judge_or_split(once, gaps)
    try:
        return [judge_part(part, gaps)], []
    except RejectedInput as error:
        return [], [refused(error, part.frames)]


def _judge_or_split(part: Part, gaps: GapPolicy) -> Judged:
    """One volume; or several, where an attribute tells evenly spaced blocks apart that are not so together."""
    try:
        return [judge_part(part, "refuse")], []
    except UnevenSpacing as error:
        parts = by_attributes(part, _is_even)
        if parts and all(_is_even(one.frames) for one in parts):
            return _judge_all(parts, gaps)
        return _close(part, gaps, error)
    except RejectedInput as error:
        return [], [refused(error, part.frames)]


def _judge_all(parts: Sequence[Part], gaps: GapPolicy) -> Judged:
    stacks: list[SliceStack] = []
    rest: list[Refused] = []
    for part in parts:
        if len(part.frames) < SMALLEST_PART:
            rest.append(refused(_leftover(part), part.frames))
            continue
        try:
            stacks.append(judge_part(part, "refuse"))
        except UnevenSpacing as error:
            found, left = _close(part, gaps, error)
            stacks += found
            rest += left
        except RejectedInput as error:
            rest.append(refused(error, part.frames))
    return stacks, rest


def _close(part: Part, gaps: GapPolicy, uneven: UnevenSpacing) -> Judged:
    """What the policy makes of gaps; slices that it leaves out are refused with the reason that they were uneven."""
    if gaps == "refuse":
        return [], [refused(uneven, part.frames, part)]
    try:
        stack = judge_part(part, gaps)
    except RejectedInput as error:
        return [], [refused(error, part.frames)]
    left = set(part.frames) - set(stack.sent)
    return [stack], [refused(uneven, [frame for frame in part.frames if frame in left])] if left else []


def _is_even(frames: Sequence[SeriesFrame]) -> bool:
    if len(frames) < SMALLEST_PART:
        return False
    try:
        order_stack([frame.plane for frame in frames], lambda index: frames[index].name)
    except (UnevenSpacing, DuplicatePositions, NotAVolume):
        return False
    return True


def _stack(part: Part, stack: Stack, closed: str) -> SliceStack:
    frames: list[SeriesFrame | None] = [None] * (stack.grid[-1] + 1)
    for k, index in zip(stack.grid, stack.order, strict=True):
        frames[k] = part.frames[index]
    first = part.frames[stack.order[0]]
    spacing = slice_distance_mm(stack.affine)
    thickness = slice_thickness_mm(first.header.dataset, first.frame_number)
    beyond = 0.0 if thickness is None or len(frames) == 1 else thickness / spacing - 1.0
    found = {
        "bridged-gaps": closed == "bridge",
        "burned-in-annotation": text_of(first.header.dataset, "BurnedInAnnotation") == "YES",
        "filled-identity": any(frame.header.filled for frame in part.frames),
        "gantry-tilt": stack.tilted,
        "gaps-between-slices": beyond < -THICKNESS_TOLERANCE,
        "longest-run": closed == "longest_run",
        "no-frame-of-reference": not frame_of_reference(first),
        "overlapping-slices": beyond > THICKNESS_TOLERANCE,
        "position-jitter": stack.jitter_mm > JITTER_MM,
        "single-slice": len(frames) == 1,
        "two-slices": len(frames) == 2,
    }
    suv = pet_scale(headers_of(part.frames)).quirk if first.header.modality == "PT" else ""
    return SliceStack(
        frames=tuple(frames),
        shape=first.shape,
        affine=stack.affine,
        frame_of_reference_uid=frame_of_reference(first),
        attributes=header_attributes(first.header.dataset),
        split=part.split,
        quirks=tuple(sorted({*part.quirks, *filter(None, [suv]), *(code for code, is_so in found.items() if is_so)})),
    )


def _leftover(part: Part) -> TooFewSlices:
    return TooFewSlices(
        f"{len(part.frames)} image(s) beside the others of the series, the first is {part.frames[0].name} ({part.split}); "
        f"expected at least {SMALLEST_PART} slices for a volume of their own; nothing is lost if they are scouts or repeats"
    )


def _mixed(parts: Sequence[Part], frames: Sequence[SeriesFrame], rest: Sequence[Refused]) -> Refused:
    """Why slices of several geometries are no volume: the geometries, since each alone only seems to lack slices."""
    one, other = parts[0].frames[0], parts[1].frames[0]
    references = frame_of_reference(one), frame_of_reference(other)
    differs = (
        f"{one.name} has Frame of Reference UID {shown_uid(references[0])}, {other.name} has {shown_uid(references[1])}"
        if references[0] != references[1]
        else f"{one.name} has {described_grid(one)}, {other.name} has {described_grid(other)}"
    )
    largest = _largest(rest)
    besides = "" if isinstance(largest.error, TooFewSlices) else f"; the largest part: {largest.error}"
    error = MixedGeometry(
        f"the series mixes {len(parts)} geometries, and none of them is a volume: {differs}{besides}; "
        "expected one orientation, matrix and pixel spacing; send each stack as a series of its own, without localizers"
    )
    return replace(refused(error, frames), part=largest.part)


def _largest(rest: Sequence[Refused]) -> Refused:
    return max(rest, key=lambda one: len(one.headers))
