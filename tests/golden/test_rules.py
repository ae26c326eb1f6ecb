"""Rule files and what must come of them: each `NNN.yaml` stands beside its expected `NNN.txt`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rules.errors import ConfigFaults
from rules.load import load_rules

CASES = Path(__file__).parent / "rules"
VALID = sorted((CASES / "valid").glob("*.yaml"))
INVALID = sorted((CASES / "invalid").glob("*.yaml"))


@pytest.mark.parametrize("case", VALID, ids=lambda path: path.stem)
def test_a_valid_file_gives_the_expected_rules(case: Path) -> None:
    rules = [rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for rule in load_rules([case]).rules]
    assert json.dumps(rules, indent=1, ensure_ascii=False) + "\n" == case.with_suffix(".txt").read_text()


@pytest.mark.parametrize("case", INVALID, ids=lambda path: path.stem)
def test_an_invalid_file_gives_every_fault_at_its_line(case: Path) -> None:
    with pytest.raises(ConfigFaults) as caught:
        load_rules([case])
    assert str(caught.value).replace(f"{case.parent}/", "") + "\n" == case.with_suffix(".txt").read_text()


def test_there_are_cases_of_both_kinds() -> None:
    assert VALID
    assert INVALID
