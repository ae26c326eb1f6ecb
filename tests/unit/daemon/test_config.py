"""The configuration: the commented file is whole, faults come all at once, and names that nothing defines are found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.config import Config, json_schema, load_config
from daemon.config_references import check_references
from rules.errors import ConfigFaults
from rules.load import load_rules

AE_TITLE = "expected an AE title of 1 to 16 ASCII characters without backslash or outer spaces"
NETWORK = "expected an address or a network such as 192.0.2.0/24"
REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = REPOSITORY / "config.yaml"
RULE = """\
rules:
  - name: r
    match: {Modality: CT}
    destinations:
      - pacs
      - pax
    weights: medsam
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: threshold, low: 100}
        weights: other
"""


def faults_of(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigFaults) as caught:
        load_config(path)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def settings(schema: dict[str, Any], part: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of setting names in the schema; names that the user gives (weights, destinations) are left out of it."""
    for form in (part, *part.get("anyOf", ()), *part.get("oneOf", ())):
        if "$ref" in form:
            yield from settings(schema, schema["$defs"][form["$ref"].rsplit("/", 1)[1]], at)
        for name, inner in form.get("properties", {}).items():
            yield (*at, name)
            yield from settings(schema, inner, (*at, name))
        for inner in (form.get("items"), form.get("additionalProperties"), *form.get("patternProperties", {}).values()):
            if isinstance(inner, dict):
                yield from settings(schema, inner, at)


def shown(tree: object, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of keys in a document, with and without each name in between."""
    if isinstance(tree, list):
        for item in tree:
            yield from shown(item, at)
    if isinstance(tree, dict):
        for name, inner in tree.items():
            yield (*at, name)
            yield from shown(inner, (*at, name))
            yield from shown(inner, at)


def uncommented(text: str) -> str:
    """The file with its commented settings switched on; prose stays a comment."""
    return re.sub(r"^(\s*)# ?(\s*)(?=[A-Za-z0-9_]+:( |$))", r"\1\2", text, flags=re.MULTILINE)


def test_every_setting_of_the_schema_appears_in_the_shipped_file() -> None:
    schema = json_schema()
    document = set(shown(yaml.safe_load(uncommented(SHIPPED.read_text()))))
    assert [".".join(path) for path in settings(schema, schema) if path not in document] == []


def test_every_key_of_the_shipped_file_exists_also_those_behind_a_comment_sign(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(uncommented(SHIPPED.read_text()))
    config = load_config(path)
    assert set(config.destinations) == {"pacs", "web", "research"}
    assert config.audit.syslog is not None
    assert config.notifications is not None


def test_the_shipped_file_loads_with_its_rules_and_every_name_in_them_is_known() -> None:
    config = load_config(SHIPPED)
    assert check_references(config, load_rules(config.rules.paths)) == ()
    assert config.rules.paths == (REPOSITORY / "rules" / "library",)
    assert config.folders.spool == REPOSITORY / "state" / "spool"


def test_settings_that_the_shipped_file_shows_but_for_examples_are_the_defaults() -> None:
    defaults, config = Config(), load_config(SHIPPED)
    for section in ("spool", "store", "arrivals", "retention", "worker", "delivery", "result", "logging", "ae_title"):
        assert getattr(config, section) == getattr(defaults, section), section


def test_defaults_are_safe() -> None:
    config = Config()
    assert config.listener.peers == ()
    assert config.listener.host == "127.0.0.1"
    assert config.called_ae_titles == ("MEDSAM2D",)
    assert config.store_url == "sqlite:////var/lib/medsam2d/medsam2d.sqlite"
    assert config.folders.weights == Path("/var/lib/medsam2d/weights")


def test_relative_paths_count_from_the_files_folder_and_folders_derive_from_state(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("folders: {state: here, audit: /elsewhere/audit}\nrules: {paths: [r.yaml]}\n")
    config = load_config(path)
    assert config.folders.results == tmp_path / "here" / "results"
    assert config.folders.audit == Path("/elsewhere/audit")
    assert config.rules.paths == (tmp_path / "r.yaml",)
    assert config.store_url == f"sqlite:///{tmp_path}/here/medsam2d.sqlite"


def test_text_that_yaml_would_change_arrives_as_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ae_title: 0104\nlistener: {called_ae_titles: [ON, 1.20, 12:30]}\n")
    config = load_config(path)
    assert (config.ae_title, config.called_ae_titles) == ("0104", ("ON", "1.20", "12:30"))


def test_all_faults_come_at_once_each_at_its_line_with_expected_got_and_cure(tmp_path: Path) -> None:
    text = """\
ae_titel: X
listener:
  port: 011112
  peers: [{ae_title: "TOO-LONG-FOR-AN-AE", networks: [10.0.0.1/8]}]
  maximum_asociations: 3
folders: {state: }
weights:
  a: {file: x}
  b: {file: x, sha256: abc}
worker: {device: gpu, precision: half}
delivery: {retry_minimum_seconds: 9, retry_maximum_seconds: 3}
destinations: {pacs: {host: "http://pacs", port: 0, ae_title: "A\\\\B"}}
result: {uid_root: 1.02}
"""
    assert faults_of(tmp_path / "config.yaml", text) == [
        "1: ae_titel: unknown key; did you mean 'ae_title'?",
        "3: listener.port: expected a whole number without leading zeros, got '011112'",
        f"4: listener.peers[0].ae_title: {AE_TITLE}, got 'TOO-LONG-FOR-AN-AE'",
        f"4: listener.peers[0].networks: {NETWORK}, got '10.0.0.1/8' (10.0.0.1/8 has host bits set)",
        "5: listener.maximum_asociations: unknown key; did you mean 'maximum_associations'?",
        "6: folders.state: expected a value, got none; write one (in quotes if this text is meant) or remove the key",
        "8: weights.a: expected either sha256 or trust: true, got neither; `sha256sum FILE` prints the hash",
        "9: weights.b.sha256: expected 64 hexadecimal digits, got 3 characters: 'abc'",
        "10: worker.device: expected a text of the form ^(auto|cpu|cuda:[0-9]+)$, got 'gpu'",
        "10: worker.precision: expected 'auto', 'float32', 'bfloat16' or 'float16', got 'half'",
        "11: delivery: expected retry_minimum_seconds <= retry_maximum_seconds, got 9 and 3",
        "12: destinations.pacs.host: expected a host name or an address, got 'http://pacs'",
        "12: destinations.pacs.port: expected greater than or equal to 1, got '0'",
        rf"12: destinations.pacs.ae_title: {AE_TITLE}, got 'A\\B'",
        "13: result.uid_root: expected a UID root of at most 40 characters such as 2.25 or 1.2.826.0.1, got '1.02'",
    ]


def test_a_file_that_is_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigFaults, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        load_config(tmp_path / "none.yaml")


def test_rules_that_use_unknown_names_are_faults_at_their_lines(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RULE.rstrip("\n") + "\n    review: [nobody]\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        "folders: {state: state}\nrules: {paths: [r.yaml]}\nworker:\n  default_weights: startr\n"
        "destinations: {pacs: {host: h, port: 104, ae_title: P}}\nweights: {other: {file: o.pt, trust: true}}\n"
    )
    config = load_config(path)
    faults = check_references(config, load_rules(config.rules.paths))
    places = [(fault.file.name, fault.line, fault.path) for fault in faults]
    assert places == [
        ("r.yaml", 6, "rules[0].destinations[1]"),
        ("r.yaml", 15, "rules[0].review[0]"),
        ("r.yaml", 7, "rules[0].weights"),
        ("config.yaml", 4, "worker.default_weights"),
    ]
    assert "expected the name of a known destination (pacs), got 'pax'" in str(faults[0])
    assert [fault.path for fault in check_references(config, load_rules(config.rules.paths), ("medsam", "startr"))] == [
        place[2] for place in places[:2]
    ]


def test_a_configuration_without_rules_is_a_fault_when_rules_are_needed() -> None:
    (fault,) = check_references(Config(), load_rules([]))
    assert "expected at least one rule" in fault.message
