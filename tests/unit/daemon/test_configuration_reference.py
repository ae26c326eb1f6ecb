"""The page docs/configuration.md is what the types say, and says something of every setting."""

from __future__ import annotations

from pathlib import Path

import yaml

from daemon.config import Config, json_schema
from daemon.configuration_reference import SettingsSection, page, sections

REPOSITORY = Path(__file__).resolve().parents[3]


def section(place: str) -> SettingsSection:
    [found] = [one for one in sections(json_schema()) if place in one.places]
    return found


def test_the_committed_page_is_what_the_types_say() -> None:
    committed = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == page(json_schema()), "write it anew: python -m daemon.configuration_reference > docs/configuration.md"


def test_every_setting_has_a_type_and_a_meaning() -> None:
    found = sections(json_schema())
    assert [f"{one.places[0]}: {setting.key}" for one in found for setting in one.settings if not (setting.meaning and setting.kind)] == []
    assert [one.places[0] for one in found if not one.meaning] == []


def test_every_form_of_a_section_is_found_and_one_that_stands_in_many_places_is_told_once() -> None:
    assert {one.places[0] for one in sections(json_schema())} >= {
        "listener.peers[]",
        "arrivals.sources.NAME",
        "destinations.NAME (kind: stow)",
        "notifications.channels.NAME (kind: email)",
    }
    assert "audit.syslog.tls" in section("destinations.NAME (kind: dicom).tls").places


def test_type_default_and_unit_are_those_of_the_setting() -> None:
    told = {setting.key: setting for setting in section("listener").settings}
    assert (told["port"].kind, told["port"].default, told["port"].unit) == ("whole number >= 0 and <= 65535", "`11112`", "")
    assert (told["network_timeout_seconds"].default, told["network_timeout_seconds"].unit) == ("`60`", "s")
    assert told["called_ae_titles"].kind == "list of: AE title"
    assert {setting.key: setting.default for setting in section("weights.NAME").settings}["file"] == "**required**"


def test_the_shipped_file_shows_every_top_level_key_and_no_other() -> None:
    text = (REPOSITORY / "config.yaml").read_text(encoding="utf-8")
    commented = [line.removeprefix("# ").split(":")[0] for line in text.splitlines() if line.startswith("# ") and line[2:3].islower()]
    keys = set(yaml.safe_load(text)) | {key for key in commented if key in Config.model_fields}
    assert keys == set(Config.model_fields)
