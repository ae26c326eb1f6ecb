"""Selection: of several series of one study that a rule matches, the one that serves it best.

The criteria are asked in the order of the rule: the first one that tells two series apart decides. What a series does not state
ranks last. Where all are equal the series that was chosen before stays, else that of the smaller Series Instance UID goes.

| in YAML                                | what is preferred                                                              |
|----------------------------------------|--------------------------------------------------------------------------------|
| `thinnest`, `thickest`                 | the distance between slices, to 0.01 mm                                        |
| `sharpest_kernel`, `softest_kernel`    | the convolution kernel (`rules.kernels`)                                       |
| `most_slices`                          | the number of slices                                                           |
| `largest_coverage`                     | from the first slice to the last one, to 1 mm                                  |
| `first_acquired`, `last_acquired`      | Acquisition DateTime, else Acquisition or Series Date and Time                 |
| `{phase: [portal-venous, arterial]}`   | the contrast phase that stands first in the list; others rank last             |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from rules.facts import PHASE_NAMES
from rules.kernels import sharpness
from rules.predicates import Attributes, stripped_values
from rules.scalars import NUMBER, Section, near_match, shown


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What series are ranked by; None where the series does not state it."""

    slice_spacing_mm: float | None = None
    slices: float | None = None
    coverage_mm: float | None = None
    kernel: str | None = None
    phase: str | None = None
    acquired: str | None = None
    """yyyymmddhhmmss.f, as the scanner's clock said."""


def measures_of(attributes: Attributes) -> Measures:
    """Return what a volume is ranked by, from its attributes and facts."""
    return Measures(
        slice_spacing_mm=_number(attributes, "slice_spacing_mm"),
        slices=_number(attributes, "slices"),
        coverage_mm=_number(attributes, "coverage_mm"),
        kernel=_first(attributes, "ConvolutionKernel") or None,
        phase=_first(attributes, "phase") or None,
        acquired=_acquired(attributes),
    )


class Criterion(Section):
    """One question that series are ranked by."""

    kind: str
    phases: tuple[str, ...] = ()
    """For `phase`: the preferred first."""


def _criterion(value: object) -> object:
    if isinstance(value, Criterion):
        return value
    choices = f"expected one of {', '.join(QUESTIONS)} or {{phase: [...]}}"
    if isinstance(value, str):
        if value not in QUESTIONS:
            raise ValueError(f"{choices}, got {shown(value)}{near_match(value, QUESTIONS)}")
        return Criterion(kind=value)
    if not isinstance(value, dict) or set(value) != {"phase"} or not isinstance(value["phase"], list | tuple):
        raise ValueError(f"{choices}, got {shown(value)}")
    phases = tuple(str(name) for name in value["phase"])
    for name in phases:
        if name not in PHASE_NAMES:
            raise ValueError(f"phase: expected {', '.join(PHASE_NAMES)}, got {shown(name)}{near_match(name, PHASE_NAMES)}")
    return Criterion(kind="phase", phases=phases)


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a criterion looks at a series: its value (smaller is better; None ranks last), and the value in words."""

    value: Callable[[Measures], float | str | None]
    words: Callable[[Measures], str]
    descending: bool = False


def _words(value: float | str | None, unit: str = "") -> str:
    return "not stated" if value is None else f"{value}{unit}" if isinstance(value, str) else f"{value:g}{unit}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _spacing(measures: Measures) -> float | None:
    return _rounded(measures.slice_spacing_mm, 2)


def _coverage(measures: Measures) -> float | None:
    return _rounded(measures.coverage_mm, 0)


def _sharpness(measures: Measures) -> float | None:
    return None if measures.kernel is None else sharpness(measures.kernel)


def _kernel_words(measures: Measures) -> str:
    if measures.kernel is None:
        return "kernel not stated"
    level = sharpness(measures.kernel)
    return f"{measures.kernel} (not a known kernel)" if level is None else f"{measures.kernel} (sharpness {level:g})"


def _asks(value: Callable[[Measures], float | str | None], words: Callable[[Measures], str], names: tuple[str, str]) -> dict[str, Question]:
    """Two criteria that look at the same value: the smaller is better for the first, the larger for the second."""
    smaller, larger = names
    return {smaller: Question(value=value, words=words), larger: Question(value=value, words=words, descending=True)}


QUESTIONS: Mapping[str, Question] = {
    **_asks(_spacing, lambda measures: _words(_spacing(measures), " mm"), ("thinnest", "thickest")),
    **_asks(_sharpness, _kernel_words, ("softest_kernel", "sharpest_kernel")),
    "most_slices": Question(value=lambda m: m.slices, words=lambda m: _words(m.slices, " slices"), descending=True),
    "largest_coverage": Question(value=_coverage, words=lambda m: _words(_coverage(m), " mm"), descending=True),
    **_asks(lambda m: m.acquired, lambda m: _words(m.acquired), ("first_acquired", "last_acquired")),
}
CriterionText: TypeAlias = Annotated[
    Criterion,
    BeforeValidator(_criterion),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(QUESTIONS)},
                {
                    "type": "object",
                    "properties": {"phase": {"type": "array", "items": {"enum": list(PHASE_NAMES)}, "minItems": 1}},
                    "required": ["phase"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Selection(Section):
    """Of all series of one study that the rule matches, one alone is segmented."""

    by: Annotated[tuple[CriterionText, ...], Field(min_length=1)]
    """thinnest, thickest, sharpest_kernel, softest_kernel, most_slices, largest_coverage, first_acquired, last_acquired or
    {phase: [...]}; the first one that tells two series apart decides."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A series, its place (1 is chosen) and its score by every criterion, in words."""

    key: str
    place: int
    scores: tuple[tuple[str, str], ...]
    reason: str
    """Why it is behind the first one; empty for that."""

    @property
    def words(self) -> str:
        """The scores on one line."""
        return ", ".join(f"{name}: {score}" for name, score in self.scores)


def rank(selection: Selection, candidates: Mapping[str, Measures], chosen_before: str | None = None) -> tuple[Ranked, ...]:
    """Return the series (by UID) in the order of the criteria, the chosen one first."""
    ordered = sorted(candidates)  # the UID decides where nothing else does
    ordered.sort(key=lambda key: key != chosen_before)
    for criterion in reversed(selection.by):  # sorting is stable: the first criterion is applied last
        ordered = _sorted(ordered, criterion, candidates)
    first = candidates[ordered[0]] if ordered else Measures()
    return tuple(
        Ranked(
            key=key,
            place=place,
            scores=tuple((criterion.kind, _said(criterion, candidates[key])) for criterion in selection.by),
            reason="" if place == 1 else _difference(selection.by, candidates[key], first),
        )
        for place, key in enumerate(ordered, start=1)
    )


def best_volume(selection: Selection, volumes: Iterable[Measures]) -> Measures:
    """Return the measures that a series of several volumes takes part with: those of its best one. Raises ValueError for none."""
    numbered = {f"{number:06}": measures for number, measures in enumerate(volumes)}
    if not numbered:
        raise ValueError("volumes: expected at least one, got none")
    return numbered[rank(selection, numbered)[0].key]


def _sorted(keys: list[str], criterion: Criterion, candidates: Mapping[str, Measures]) -> list[str]:
    values = {key: _value(criterion, candidates[key]) for key in keys}
    stated = [key for key in keys if values[key] is not None]
    descending = criterion.kind != "phase" and QUESTIONS[criterion.kind].descending
    groups: dict[object, list[str]] = {}
    for key in stated:
        groups.setdefault(values[key], []).append(key)
    order = sorted(groups, reverse=descending)  # type: ignore[type-var]  # the values of one criterion are of one type
    return [key for value in order for key in groups[value]] + [key for key in keys if values[key] is None]


def _value(criterion: Criterion, measures: Measures) -> float | str | None:
    if criterion.kind != "phase":
        return QUESTIONS[criterion.kind].value(measures)
    return float(criterion.phases.index(measures.phase)) if measures.phase in criterion.phases else None


def _said(criterion: Criterion, measures: Measures) -> str:
    return _words(measures.phase) if criterion.kind == "phase" else QUESTIONS[criterion.kind].words(measures)


def _difference(criteria: Iterable[Criterion], behind: Measures, first: Measures) -> str:
    for criterion in criteria:
        if _value(criterion, behind) != _value(criterion, first):
            return f"{criterion.kind}: {_said(criterion, behind)} against {_said(criterion, first)}"
    return "equal by every criterion"


def _first(attributes: Attributes, key: str) -> str:
    values = stripped_values(attributes.get(key, ()))
    return values[0] if values else ""


def _number(attributes: Attributes, key: str) -> float | None:
    text = _first(attributes, key)
    return float(text) if NUMBER.fullmatch(text) else None


def _acquired(attributes: Attributes) -> str | None:
    moments = (
        _first(attributes, "AcquisitionDateTime"),
        _first(attributes, "AcquisitionDate") + _first(attributes, "AcquisitionTime"),
        _first(attributes, "SeriesDate") + _first(attributes, "SeriesTime"),
    )
    return next((text for text in moments if re.fullmatch(r"\d{8}\d{2,6}(\.\d+)?([+-]\d{4})?", text)), None)
