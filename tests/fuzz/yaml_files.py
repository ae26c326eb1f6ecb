"""Damaged rule files and configurations: all faults told with file and line, or a set of rules that runs on any header."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from daemon.config import load_config
from rules.cases import run_cases
from rules.errors import ConfigFaults
from rules.load import load_rules
from rules.match import NoMatch, match, shadow_plans
from rules.predicates import Attributes
from tests.fuzz.byte_faults import Dice
from tests.fuzz.surface import Surface, Try
from tests.fuzz.text_faults import YAML, damaged

REPOSITORY = Path(__file__).resolve().parents[2]
HEADERS: tuple[Attributes, ...] = (
    {"Modality": "CT", "SeriesDescription": "a" * 120 + "!", "BodyPartExamined": "ABDOMEN", "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL")},
    {"Modality": "MR", "SeriesDescription": "x" * 300, "SliceThickness": "nan", "plane": "axial", "slices": "9", "contrast": "true"},
    {},
)


@contextlib.contextmanager
def _rules(folder: Path) -> Iterator[Try]:
    seeds = [file.read_text(encoding="utf-8") for file in sorted((REPOSITORY / "rules" / "library").glob("*.yaml"))]
    library = load_rules([REPOSITORY / "rules" / "library"])
    path, cases = folder / "rules.yaml", folder / "rules.cases.yaml"

    def attempt(dice: Dice) -> str:
        place = cases if dice.random() < 0.15 else path
        place.write_bytes(damaged(dice, dice.choice(seeds), seeds, YAML))
        if place is cases:
            run_cases(cases, library)
            return "cases"
        ruleset = load_rules([path])
        for header in HEADERS:
            shadow_plans(header, ruleset)
            found = match(header, ruleset)
            if isinstance(found, NoMatch):
                assert all(found.reasons)
        return "rules"

    yield attempt


@contextlib.contextmanager
def _config(folder: Path) -> Iterator[Try]:
    text = (REPOSITORY / "config.yaml").read_text(encoding="utf-8")
    # A few sections at a time: the whole file would take longer to read than to break.
    sections = [part + "\n" for part in re.split(r"\n(?=[a-z_]+:)", _all_shown(text))]
    path = folder / "config.yaml"

    def attempt(dice: Dice) -> str:
        chosen = "".join(dice.sample(sections, k=dice.choice((1, 2, 3))))
        path.write_bytes(damaged(dice, chosen, sections, YAML))
        load_config(path)
        return "a configuration"

    yield attempt


def _all_shown(text: str) -> str:
    """The configuration with the settings that it shows behind `#`, and without its other comments."""
    return re.sub(r"(?m)^\s*#.*\n", "", re.sub(r"(?m)^(\s*)# (?=\s*(?:- )?[a-z_]+:)", r"\1", text))


RULES = Surface(name="rules", opened=_rules, refusals=(ConfigFaults,))
CONFIG = Surface(name="config", opened=_config, refusals=(ConfigFaults,))
