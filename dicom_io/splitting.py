"""One series, several volumes: frames told apart by geometry always, and by phase, echo, b-value and the like where they must be.

A series is split by an attribute only where it cannot be one volume: two frames in one place, or uneven spacing. So slices
that each have an acquisition number of their own stay together, and two phases that differ in nothing else come apart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dicom_io.clock import acquired_at, newest_first
from dicom_io.errors import MixedGeometry
from dicom_io.frame_attributes import numbers
from dicom_io.geometry import POSITION_TOLERANCE_MM, Float64, PlaneGeometry
from dicom_io.slice_stack import Part, SeriesFrame
from dicom_io.split_keys import SPLIT_KEYS, SplitKey
from dicom_io.stack import same_place
from dicom_io.values import text_of

SMALLEST_PART = 3
"""Fewer frames beside others are scouts, repeats or leftovers, and no volume of their own."""
MOST_ORIENTATIONS = 64
_DEEPEST = 3
"""Phases of echoes of b-values: nothing real nests deeper, and hostile headers must not cost time."""

Groups = list[tuple[str, list[SeriesFrame]]]
_Found = list[tuple[str, list[SeriesFrame], tuple[str, ...]]]
"""What tells a group from the others, its frames, and the names of the attributes."""
_Clock = Callable[[SeriesFrame], object]


def by_geometry(frames: Sequence[SeriesFrame]) -> tuple[Part, ...]:
    """Return the frames by frame of reference, matrix, orientation and pixel spacing, in the order in which each first came.

    Raises MixedGeometry for more than `MOST_ORIENTATIONS` of them.
    """
    groups: list[list[SeriesFrame]] = []
    for frame in frames:
        home = next((group for group in groups if _same_grid(group[0], frame)), None)
        if home is not None:
            home.append(frame)
        elif len(groups) == MOST_ORIENTATIONS:
            raise MixedGeometry(
                f"the series has more than {MOST_ORIENTATIONS} orientations or matrices; expected slices that are parallel; "
                "send each stack as a series of its own"
            )
        else:
            groups.append([frame])
    split = len(groups) > 1
    return tuple(
        Part(
            frames=tuple(group),
            split=described_grid(group[0]) if split else "",
            quirks=("split-by-geometry",) if split else (),
        )
        for group in groups
    )


def described_grid(frame: SeriesFrame) -> str:
    """Return matrix, orientation and pixel spacing of a frame for people."""
    plane = frame.plane
    cosines = "\\".join(f"{value:.6g}" for value in (*plane.row_cosines, *plane.column_cosines))
    return (
        f"matrix {frame.shape[0]} x {frame.shape[1]}, orientation {cosines} and "
        f"pixel spacing {plane.row_spacing_mm:.6g}\\{plane.column_spacing_mm:.6g} mm"
    )


def has_duplicates(frames: Sequence[SeriesFrame]) -> bool:
    """Return whether two of the parallel frames lie in one place."""
    return bool(same_place(np.sort(_distances(frames))).size)


def by_attributes(part: Part, is_volume: Callable[[Sequence[SeriesFrame]], bool]) -> tuple[Part, ...]:
    """Return the part split by the first attributes that make volumes of it, in the order of their values; empty if none do.

    Every frame must come to lie in a place of its own, and more than half of them in groups for which `is_volume`.
    """
    found = _split(part.frames, SPLIT_KEYS, _DEEPEST) or _by_rank(part.frames)
    if not found or 2 * sum(len(group) for _, group, _ in found if _large(group) and is_volume(group)) <= len(part.frames):
        return ()
    return tuple(
        Part(
            frames=tuple(group),
            split=", ".join(text for text in (part.split, words) if text),
            quirks=(*part.quirks, *(f"split-by-{name}" for name in names)),
        )
        for words, group, names in found
    )


def without_repeats(part: Part) -> Part | None:
    """Return the part with the newest frame alone of each place, or None where that would be a guess.

    It is one unless repeats are the exception and their times tell which is the newest.
    """
    places = _places(part.frames)
    repeated = [frames for frames in places if len(frames) > 1]
    if 2 * len(repeated) > len(places):
        return None
    kept = {id(frames[0]) for frames in places if len(frames) == 1}
    for frames in repeated:
        newest = newest_first(frames)
        if newest is None:
            return None
        kept.add(id(newest[0]))
    return replace(part, frames=tuple(frame for frame in part.frames if id(frame) in kept), quirks=(*part.quirks, "repeated-slices"))


def _same_grid(one: SeriesFrame, other: SeriesFrame) -> bool:
    """Whether two frames span their pixels alike, to the position tolerance at the far corners, in one frame of reference."""
    if one.shape != other.shape or frame_of_reference(one) != frame_of_reference(other):
        return False
    if one.plane.row_cosines == other.plane.row_cosines and one.plane.column_cosines == other.plane.column_cosines:
        same = (one.plane.row_spacing_mm, one.plane.column_spacing_mm) == (other.plane.row_spacing_mm, other.plane.column_spacing_mm)
        if same:
            return True
    difference = np.abs(_spans(one.plane, one.shape) - _spans(other.plane, other.shape))
    return bool(difference.max() <= POSITION_TOLERANCE_MM)


def frame_of_reference(frame: SeriesFrame) -> str:
    """Return the Frame of Reference UID of a frame's instance, empty where it states none."""
    return text_of(frame.header.dataset, "FrameOfReferenceUID")


def _spans(plane: PlaneGeometry, shape: tuple[int, int]) -> Float64:
    """Vectors from the first pixel to the end of the first column and of the first row, shape (2, 3), millimetres."""
    column = np.asarray(plane.column_cosines, np.float64) * plane.row_spacing_mm * max(1, shape[0] - 1)
    row = np.asarray(plane.row_cosines, np.float64) * plane.column_spacing_mm * max(1, shape[1] - 1)
    return np.stack([column, row])


def _distances(frames: Sequence[SeriesFrame]) -> Float64:
    normal = frames[0].plane.normal / np.linalg.norm(frames[0].plane.normal)
    return np.array([frame.plane.position_mm for frame in frames], np.float64) @ normal


def _places(frames: Sequence[SeriesFrame]) -> list[list[SeriesFrame]]:
    """The frames of each place along the normal."""
    distances = _distances(frames)
    order = np.argsort(distances, kind="stable")
    places: list[list[SeriesFrame]] = []
    for n, index in enumerate(order):
        if n and distances[index] - distances[order[n - 1]] < POSITION_TOLERANCE_MM:
            places[-1].append(frames[int(index)])
        else:
            places.append([frames[int(index)]])
    return places


def _split(frames: Sequence[SeriesFrame], keys: Sequence[SplitKey], depth: int) -> _Found:
    """Groups without duplicates by up to `depth` of the keys; empty if there are none, or nothing is to be split."""
    for n, key in enumerate(keys):
        groups = _grouped(frames, key)
        if len(groups) < 2 or len(groups) * 2 > len(frames):
            continue
        found: _Found = []
        for words, group in groups:
            if not has_duplicates(group):
                found.append((words, group, (key.name,)))
                continue
            deeper = _split(group, keys[n + 1 :], depth - 1) if depth > 1 else []
            if not deeper:
                break
            found += [(f"{words}, {more}", part, (key.name, *names)) for more, part, names in deeper]
        else:
            return found
    return []


def _grouped(frames: Sequence[SeriesFrame], key: SplitKey) -> Groups:
    """The frames by their value of an attribute, numbers in their own order."""
    groups: dict[Hashable, list[SeriesFrame]] = {}
    for frame in frames:
        groups.setdefault(key.value(frame), []).append(frame)
    return [(f"{key.label} {_words(value)}", groups[value]) for value in sorted(groups, key=_sortable)]


def _by_rank(frames: Sequence[SeriesFrame]) -> _Found:
    """The n-th frame of every place, by the first clock that orders the frames of each; empty if none does.

    Clocks that run on while a volume is acquired differ for all slices, but each place has its first, second, ... frame.
    """
    places = _places(frames)
    count = len(places[0])
    if count < 2 or any(len(place) != count for place in places):
        return []
    for name, label, clock in _CLOCKS:
        ordered = [_ranked(place, clock) for place in places]
        if all(ordered):
            return [(f"{label}: {n + 1} of {count}", [place[n] for place in ordered], (name,)) for n in range(count)]
    return []


def _ranked(place: Sequence[SeriesFrame], clock: _Clock) -> list[SeriesFrame]:
    """The frames of one place by a clock; empty where two show the same time or one shows none."""
    times: list[Any] = [clock(frame) for frame in place]
    if None in times or len(set(times)) < len(times):
        return []
    return [place[n] for n in sorted(range(len(place)), key=times.__getitem__)]


def _trigger_time(frame: SeriesFrame) -> float | None:
    return next(iter(numbers(frame.header.dataset, "TriggerTime")), None)


_CLOCKS: tuple[tuple[str, str, _Clock], ...] = (
    ("cardiac-phase", "TriggerTime", _trigger_time),
    ("acquisition-time", "time of acquisition", lambda frame: acquired_at(frame.header.dataset)),
)


def _large(group: Sequence[SeriesFrame]) -> bool:
    return len(group) >= SMALLEST_PART


def _sortable(value: Hashable) -> tuple[object, ...]:
    """Numbers before texts, and nothing first of all."""
    parts = value if isinstance(value, tuple) else (value,)
    return tuple((0, part, "") if isinstance(part, float) else (1, 0.0, str(part)) for part in parts)


def _words(value: Hashable) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return "\\".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts) or "none"
