"""Facts: what a rule can ask beyond single attributes."""

from __future__ import annotations

import pytest

from rules.condition import Condition
from rules.facts import FACTS, Geometry, geometry_facts, header_facts


def test_a_stacks_geometry_becomes_facts_in_plain_numbers() -> None:
    geometry = Geometry(plane="axial", slices=134, slice_spacing_mm=2.5, largest_gap_mm=2.5, coverage_mm=332.5, tilt_degrees=0.0)
    facts = geometry_facts(geometry)
    assert facts == {
        "plane": "axial",
        "slices": "134",
        "slice_spacing_mm": "2.5",
        "largest_gap_mm": "2.5",
        "coverage_mm": "332.5",
        "tilt_degrees": "0",
    }
    assert facts.keys() <= FACTS.keys()


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("Abdomen portal venous 3.0", "portal-venous"),
        ("ABD ART/PV", "portal-venous"),
        ("CTA thorax", "arterial"),
        ("Delayed 5 min", "delayed"),
        ("Thorax nativ", "native"),
        ("Abdomen 3.0 B30f", None),
        ("party part cart", None),
        ("LATERAL spine", None),
        ("Abdomen without intravenous contrast", "native"),
    ],
)
def test_the_phase_is_read_from_whole_words_of_the_description(description: str, phase: str | None) -> None:
    assert header_facts({"SeriesDescription": description}).get("phase") == phase


def test_contrast_is_told_by_its_agent() -> None:
    assert header_facts({"ContrastBolusAgent": "Omnipaque"})["contrast"] == "true"
    assert header_facts({"ContrastBolusAgent": " "})["contrast"] == "false"
    assert header_facts({})["contrast"] == "false"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"plane": {"range": {"minimum": "1"}}}, "a range compares numbers"),
        (
            {"plane": "axal"},
            "sagittal, coronal, oblique, got 'axal', which could never apply; did you mean 'axial'?",
        ),
        ({"SliceThickness": "thin"}, "SliceThickness: expected a number, got 'thin', which could never apply"),
        ({"source_address": "10.2.0.1/16"}, "expected an address or a network such as 10.2.0.0/16"),
        ({"source_address": {"matches": "10.*"}}, "expected addresses or networks such as 10.2.0.0/16, got a pattern"),
        ({"coverage": {"range": {"minimum": "1"}}}, "did you mean 'coverage_mm'?"),
    ],
)
def test_a_fact_is_asked_in_its_own_terms(condition: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", "[?]")):
        Condition.model_validate(condition)
