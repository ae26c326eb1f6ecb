"""Facts: what a rule may ask of a series that no single DICOM attribute says: its geometry, its contrast phase, what is drawn on it.

Facts are written in lower case, DICOM keywords in capitals, so that the two never meet. A fact that cannot be told (no
volume, nothing in the header) is absent, and a condition can ask for that too: `{present: false}`.

| fact               | value                                                                                        |
|--------------------|----------------------------------------------------------------------------------------------|
| `plane`            | axial, sagittal, coronal or oblique, by the stack's normal                                   |
| `slices`           | number of slices of the volume                                                               |
| `slice_spacing_mm` | between slices, from their positions                                                         |
| `largest_gap_mm`   | the largest distance between neighbouring slices                                             |
| `coverage_mm`      | from the first slice's centre to the last one's                                              |
| `tilt_degrees`     | between the stack's direction and its slices' normal; 0 without gantry tilt                  |
| `contrast`         | true or false, by Contrast/Bolus Agent (0018,0010)                                           |
| `phase`            | native, arterial, portal-venous, delayed, by the words of the series description             |
| `has_annotations`  | true or false: whether somebody else's annotation object of the study was drawn on the series |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TEXT, NUMBER_KIND = "CS", "DS"

FACTS: Mapping[str, str] = {
    "plane": TEXT,
    "slices": NUMBER_KIND,
    "slice_spacing_mm": NUMBER_KIND,
    "largest_gap_mm": NUMBER_KIND,
    "coverage_mm": NUMBER_KIND,
    "tilt_degrees": NUMBER_KIND,
    "contrast": TEXT,
    "phase": TEXT,
    "has_annotations": TEXT,
}
"""The kind of every fact's values, in the terms of DICOM's value representations."""

PHASES = (
    ("delayed", r"delay|\blate\b|excret|nephro"),
    ("portal-venous", r"portal|(?<!intra)venous|\bpv\b|\bpvp\b"),
    ("arterial", r"arteri|\bart\b|angio|\bcta\b"),
    ("native", r"native|nativ|plain|non.?contrast|without|unenhanced|\bpre\b"),
)
"""Words of series descriptions, the later phase first: "arterial and portal" is read as portal-venous."""
PHASE_NAMES = tuple(name for name, _ in PHASES)
YES_OR_NO = ("true", "false")
FACT_VALUES: Mapping[str, tuple[str, ...]] = {
    "plane": ("axial", "sagittal", "coronal", "oblique"),
    "contrast": YES_OR_NO,
    "phase": PHASE_NAMES,
    "has_annotations": YES_OR_NO,
}
"""All values that a fact in words can have: a condition that asks for another one could never hold."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What is known of a stack of slices before its voxels are read."""

    plane: str
    slices: int
    slice_spacing_mm: float
    largest_gap_mm: float
    coverage_mm: float
    tilt_degrees: float


def geometry_facts(geometry: Geometry) -> dict[str, str]:
    """Return a stack's facts by name, numbers as text with at most three decimals."""
    return {name: _text(value) for name, value in vars(geometry).items()}


def header_facts(attributes: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
    """Return the facts that the header's words tell: contrast and phase."""
    agent = "".join(_values(attributes, "ContrastBolusAgent")).strip()
    words = " ".join(_values(attributes, "SeriesDescription")).lower()
    phase = next((name for name, pattern in PHASES if re.search(pattern, words)), None)
    facts = {"contrast": "true" if agent else "false"}
    return facts if phase is None else {**facts, "phase": phase}


def annotation_facts(*, has_annotations: bool) -> dict[str, str]:
    """Return the fact that tells whether something was drawn on a series."""
    return {"has_annotations": YES_OR_NO[not has_annotations]}


def _values(attributes: Mapping[str, str | tuple[str, ...]], key: str) -> tuple[str, ...]:
    found = attributes.get(key, ())
    return (found,) if isinstance(found, str) else found


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3f}".rstrip("0").rstrip(".")
