"""The configuration reference: every setting with type, default, unit and meaning, as the page docs/configuration.md.

`python -m daemon.configuration_reference > docs/configuration.md` writes it anew; a test holds the page against it. It is a module and
no `medsam2d` command, since only who changes a setting needs it: an installation has the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from daemon.config import json_schema

Schema: TypeAlias = Mapping[str, Any]

HEAD = """# Configuration: every setting

Made from the types by `python -m daemon.configuration_reference`; do not edit. [config.yaml](../config.yaml) shows the same settings in
their places, with examples. `medsam2d check` judges a file and names every fault with its line; a key that is not below is a fault.

Text is taken as written: `0104` stays 0104, `ON` stays ON; only `true` and `false` are yes and no. Numbers have no unit: it stands in
the key's name. Relative paths count from the folder of the configuration file. `NAME` is a name of your choice: letters, digits, `_`, `.`
and `-`.
"""

UNITS = {
    "per_minute": "a minute",
    "seconds": "s",
    "minutes": "min",
    "hours": "h",
    "days": "days",
    "mib": "MiB",
    "bytes": "bytes",
    "percent": "%",
}
"""By the last words of a key."""

BOUNDS = {"minimum": ">=", "ge": ">=", "exclusiveMinimum": ">", "gt": ">", "maximum": "<=", "le": "<=", "exclusiveMaximum": "<", "lt": "<"}
"""The words of JSON Schema, and those that pydantic leaves where a validator of ours stands before its own."""

SCALARS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
FORMATS = {
    "path": "path",
    "ae-title": "AE title",
    "network": "address or network",
    "host": "host name or address",
    "http-url": "URL (http, https)",
    "uid-root": "UID root",
    "sha-256": "64 hexadecimal digits",
    "mailbox": "mail address",
    "name": "name",
    "device": "`auto`, `cpu` or `cuda:N`",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key of a section, in words."""

    key: str
    kind: str
    default: str
    unit: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class SettingsSection:
    """One mapping of the file: where it stands, what it is for, its keys."""

    places: tuple[str, ...]
    """Dotted; the first is its heading."""
    meaning: str
    settings: tuple[Setting, ...]


def sections(schema: Schema) -> tuple[SettingsSection, ...]:
    """Return every section of a configuration's JSON Schema, the file itself first, each before what stands in it."""
    places: dict[str, list[str]] = {}
    _collect(schema, schema, "", places)
    found = [SettingsSection(places=("The file itself",), meaning=_one_line(schema), settings=tuple(_settings(schema, schema, places)))]
    for name, paths in places.items():
        section = schema["$defs"][name]
        settings = tuple(_settings(schema, section, places))
        found.append(SettingsSection(places=tuple(paths), meaning=_one_line(section), settings=settings))
    return tuple(found)


def page(schema: Schema) -> str:
    """Return the page, Markdown."""
    parts = [HEAD]
    for section in sections(schema):
        also = f" Also {', '.join(f'`{place}`' for place in section.places[1:])}." if section.places[1:] else ""
        rows = [f"| `{one.key}` | {one.kind} | {one.default} | {one.unit} | {one.meaning} |" for one in section.settings]
        table = ["| key | type | default | unit | meaning |", "|---|---|---|---|---|", *rows]
        parts.append("\n".join([f"## {section.places[0]}", f"{section.meaning}{also}", "", *table, ""]))
    return "\n".join(parts)


def anchor(heading: str) -> str:
    """Return the anchor that a heading has where Markdown is shown (GitHub's way)."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Print the page."""
    sys.stdout.write(page(json_schema()))


def _collect(schema: Schema, section: Schema, path: str, places: dict[str, list[str]]) -> None:
    """Note the places of every section below `section`, by its name in the schema."""
    for key, value in section["properties"].items():
        for name, suffix in _sections_of(schema, value):
            place = f"{path}{key}{suffix}"
            seen = name in places
            places.setdefault(name, []).append(place)
            if not seen:
                _collect(schema, schema["$defs"][name], f"{place}.", places)


def _sections_of(schema: Schema, value: Schema) -> Iterator[tuple[str, str]]:
    """The sections that a value may hold, with what a path needs behind the key: nothing, `[]` for a list, `.NAME` for a mapping."""
    if "$ref" in value and "properties" in schema["$defs"][_referred(value)]:
        yield _referred(value), ""
    forms = value.get("oneOf", ())
    for form in (*forms, *value.get("anyOf", ())):
        for name, suffix in _sections_of(schema, form):
            yield name, suffix + (_kind(schema["$defs"][name]) if form in forms else "")
    if "items" in value:
        yield from ((name, f"[]{suffix}") for name, suffix in _sections_of(schema, value["items"]))
    for inner in _named(value):
        yield from ((name, f".NAME{suffix}") for name, suffix in _sections_of(schema, inner))


def _kind(section: Schema) -> str:
    return f" (kind: {section['properties']['kind']['const']})"


def _settings(schema: Schema, section: Schema, places: Mapping[str, list[str]]) -> Iterator[Setting]:
    required = section.get("required", ())
    for key, value in section["properties"].items():
        inner = [name for name, _ in _sections_of(schema, value)]
        unit = next((unit for ending, unit in UNITS.items() if key.endswith(ending)), "")
        said = _one_line(value) or (_one_line(schema["$defs"][inner[0]]) if inner else "")
        default = "**required**" if key in required else "" if "$ref" in value and inner else _default(value)
        links = ", ".join(f"[{places[name][0]}](#{anchor(places[name][0])})" for name in inner)
        yield Setting(key=key, kind=links or _type(schema, value), default=default, unit=unit, meaning=said)


def _type(schema: Schema, value: Schema) -> str:
    if "$ref" in value:
        return _type(schema, schema["$defs"][_referred(value)])
    if "anyOf" in value:
        return _type(schema, next(form for form in value["anyOf"] if form.get("type") != "null"))
    if "const" in value or "enum" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of: {_type(schema, value['items'])}"
    length = f", at most {value['maxLength']} characters" if "maxLength" in value else ""
    bounds = " and".join(f" {sign} {value[word]}" for word, sign in BOUNDS.items() if word in value)
    return FORMATS.get(value.get("format", ""), SCALARS[value["type"]]) + bounds + length


def _default(value: Schema) -> str:
    if "default" not in value:
        return "derived" if value.get("format") == "path" else "none"
    default = value["default"]
    if default is None or default == []:
        return "absent"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    if isinstance(default, list):
        return ", ".join(f"`{one}`" for one in default)
    return f"`{default}`"


def _named(value: Schema) -> Iterator[Schema]:
    """The schemas of a mapping whose keys are names."""
    yield from value.get("patternProperties", {}).values()
    if isinstance(value.get("additionalProperties"), dict):
        yield value["additionalProperties"]


def _referred(value: Schema) -> str:
    return str(value["$ref"]).rsplit("/", 1)[1]


def _one_line(value: Schema) -> str:
    return " ".join(value.get("description", "").split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
