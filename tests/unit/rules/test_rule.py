"""Rules: identity by content, the shipped library, and the schema that editors complete from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr.codedict import codes

from rules.errors import ConfigFaults
from rules.load import load_rules
from rules.rule import json_schema, rule_hash
from tests.unit.rules.examples import rule, target

LIBRARY = Path(__file__).resolve().parents[3] / "rules" / "library"
RULE = """\
rules:
  - name: {name}
    match: {{Modality: CT}}
    destinations: []
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {{value: "10200004", scheme: SCT, meaning: Liver}}
        window: {{low: -160, high: 240}}
        prompt: {{kind: threshold, low: 100}}
"""


def test_the_hash_is_that_of_the_content_and_survives_what_changes_no_mask() -> None:
    first = rule_hash(rule())
    assert first == rule_hash(rule(description="other words", enabled="false", destinations=["pacs"]))
    assert first == rule_hash(rule(targets=[target(stop_after_empty_frames="3", largest_component="false")]))
    assert (
        len({first, rule_hash(rule(weights="x")), rule_hash(rule(match={"Modality": "MR"})), rule_hash(rule(targets=[target(label="X")]))})
        == 4
    )


def test_the_hash_of_a_rule_never_changes_between_versions() -> None:
    assert rule_hash(rule()) == "0755e6096e761f71eb347beb1275741b82d72441c6dc490031f0e50e53364858"


@pytest.mark.parametrize(
    "path", sorted(path for path in LIBRARY.glob("*.yaml") if not path.name.endswith(".cases.yaml")), ids=lambda path: path.stem
)
def test_every_library_file_loads_and_its_codes_are_the_standards(path: Path) -> None:
    for item in load_rules([path]).rules:
        assert item.description
        for found in item.targets:
            assert getattr(codes.SCT, found.type.meaning).value == found.type.value


def test_folders_are_read_by_file_name_and_all_files_faults_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(RULE.format(name="second"))
    (tmp_path / "a.yml").write_text(RULE.format(name="first"))
    (tmp_path / "notes.txt").write_text("not a rule")
    ruleset = load_rules([tmp_path, tmp_path / "a.yml"])
    assert [item.name for item in ruleset.rules] == ["first", "second"]
    (tmp_path / "c.yaml").write_text(RULE.format(name="first"))
    (tmp_path / "d.yaml").write_text("rule: []")
    with pytest.raises(ConfigFaults) as caught:
        load_rules([tmp_path, tmp_path / "none.yaml"])
    assert [fault.file.name for fault in caught.value.faults] == ["c.yaml", "d.yaml", "d.yaml", "none.yaml"]
    assert caught.value.code == "config-faults"


def test_a_folder_without_rules_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigFaults, match="expected a folder with rule files"):
        load_rules([tmp_path])


def test_the_json_schema_describes_the_settings() -> None:
    schema = json_schema()
    assert schema["$defs"]["Rule"]["properties"]["enabled"]["default"] is True
    assert "Segment" not in schema["$defs"]
    assert schema["$defs"]["Target"]["properties"]["label"]["description"] == "The segment's label in the PACS."
    assert schema["$defs"]["Target"]["properties"]["prompt"]["discriminator"]["propertyName"] == "kind"
