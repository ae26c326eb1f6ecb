"""The commands about rules, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.harness import MEDSAM2D, run

RULES = """\
rules:
  - name: every-ct
    match: {Modality: CT}
    destinations: []
    targets: &targets
      - label: Bone
        category: AnatomicalStructure
        type: {value: "3138006", scheme: SCT, meaning: Bone}
        window: {low: -450, high: 1050}
        prompt: {kind: threshold, low: 250}
  - name: head-ct
    match: {Modality: CT, BodyPartExamined: HEAD}
    destinations: []
    targets: *targets
"""
CASES = """\
cases:
  - {name: a head, attributes: {Modality: CT, BodyPartExamined: HEAD}, expect: head-ct}
  - {name: a knee in MR, attributes: {Modality: MR, BodyPartExamined: KNEE}, expect: none}
"""


def test_check_names_the_rule_that_can_never_apply_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(RULES)
    done = run([*MEDSAM2D, "rules", "check", str(tmp_path)], check=False)
    assert done.returncode == 1
    assert "site.yaml:11: 'head-ct' can never apply: 'every-ct' before it takes its series" in done.stdout
    (tmp_path / "site.yaml").write_text(RULES.replace("BodyPart", "BodyPrt"))
    done = run([*MEDSAM2D, "rules", "check", str(tmp_path)], check=False)
    assert done.returncode == 2
    assert "did you mean 'BodyPartExamined'?" in done.stderr


def test_test_says_which_header_gets_another_rule_than_it_should(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(RULES)
    (tmp_path / "site.cases.yaml").write_text(CASES)
    done = run([*MEDSAM2D, "rules", "test", str(tmp_path)], check=False)
    assert done.returncode == 1
    assert "a head: expected head-ct, got every-ct (an earlier rule matches first)" in done.stdout
    assert "1 of 2 cases as expected" in done.stdout
    rows = json.loads(run([*MEDSAM2D, "rules", "test", str(tmp_path), "--json"], check=False).stdout)
    assert (rows["passed"], rows["failed"]) == (1, 1)


def test_the_schema_is_that_of_rule_files() -> None:
    schema = json.loads(run([*MEDSAM2D, "rules", "schema"]).stdout)
    assert schema["required"] == ["rules"]
    assert "Condition" in schema["$defs"]
