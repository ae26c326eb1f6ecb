"""The words of a fault: what pydantic found, said as expected, got and cure at the line where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from rules.errors import Fault
from rules.places import Places, Step
from rules.scalars import near_match, shown

Detail = Mapping[str, Any]
LONGEST_WORDS = 1000


def faults_of(error: ValidationError, model: type[BaseModel], places: Places) -> list[Fault]:
    """Return one fault for each error that pydantic collected while it filled `model`."""
    schema = model.model_json_schema()
    return [_fault(detail, schema, places) for detail in error.errors() if not _only_follows(detail)]


def _only_follows(detail: Detail) -> bool:
    """Tell whether an error is but the echo of another: a list is too short because its items have faults of their own."""
    if detail["type"] == "too_short":
        return bool(len(detail["input"]) >= detail["ctx"]["min_length"])
    return bool(detail["type"] == "default_factory_not_called")


def _fault(detail: Detail, schema: Mapping[str, Any], places: Places) -> Fault:
    steps: Sequence[Step] = detail["loc"]
    if detail["type"] == "missing":
        owner = places.nearest(steps[:-1])
        path = places.spell((*owner, steps[-1]))
        return Fault(file=places.file, line=places.lines.get(owner, 1), path=path, message="missing; add this key")
    if detail["type"] == "extra_forbidden":
        known = allowed_keys(schema, steps[:-1])
        cure = near_match(str(steps[-1]), known) or f"; expected one of: {', '.join(sorted(known))}"
        return places.fault(steps, f"unknown key{cure}")
    if detail["type"] == "union_tag_not_found":
        key = str(detail["ctx"]["discriminator"]).strip("'")
        return places.fault(steps, f"missing key {key!r}; it says which form this is")
    return places.fault(steps, MESSAGES.get(detail["type"], _expected)(detail))


def _expected(detail: Detail) -> str:
    words = str(detail["msg"]).replace("Input should be", "expected").replace("should", "expected to")
    return f"{words}, got {shown(detail['input'])}"


def _tag(detail: Detail) -> str:
    context = detail["ctx"]
    key = str(context["discriminator"]).strip("'()")  # a key of the document, or a function named after it
    return f"{key}: expected one of {context['expected_tags']}, got {context['tag']!r}"


def _short(words: str) -> str:
    """Words of a validator, which may quote a value of any length."""
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def _fixed(expected: str) -> Callable[[Detail], str]:
    return lambda detail: f"expected {expected}, got {shown(detail['input'])}"


MESSAGES: Mapping[str, Callable[[Detail], str]] = {
    "value_error": lambda detail: _short(str(detail["ctx"]["error"])),
    "union_tag_invalid": _tag,
    "tuple_type": _fixed("a list"),
    "list_type": _fixed("a list"),
    "dict_type": _fixed("a mapping (key: value)"),
    "model_type": _fixed("a mapping (key: value)"),
    "model_attributes_type": _fixed("a mapping (key: value)"),
    "string_type": _fixed("a text"),
    "int_type": _fixed("a whole number"),
    "float_type": _fixed("a number"),
    "bool_type": _fixed("true or false"),
    "string_too_short": _fixed("a text that is not empty"),
    "string_pattern_mismatch": lambda detail: f"expected a text of the form {detail['ctx']['pattern']}, got {shown(detail['input'])}",
    "too_short": lambda detail: f"expected at least {detail['ctx']['min_length']} in the list, got {detail['ctx']['actual_length']}",
    "too_long": lambda detail: f"expected at most {detail['ctx']['max_length']} in the list, got {detail['ctx']['actual_length']}",
}
"""What is said for each type of pydantic error; the others keep pydantic's words."""


def allowed_keys(schema: Mapping[str, Any], steps: Sequence[Step]) -> set[str]:
    """Return the keys that the JSON Schema allows at `steps` (keys, indices and tags of discriminated unions)."""
    forms = _forms(schema, schema)
    for step in steps:
        forms = [form for owner in forms for form in _below(schema, owner, step)]
    return {key for form in forms for key in form.get("properties", {})}


def _below(schema: Mapping[str, Any], form: Mapping[str, Any], step: Step) -> list[Mapping[str, Any]]:
    if isinstance(step, int):
        return _forms(schema, form.get("items", {}))
    if step in form.get("properties", {}):
        return _forms(schema, form["properties"][step])
    named = [form.get("additionalProperties"), *form.get("patternProperties", {}).values()]
    if any(isinstance(part, dict) for part in named):
        return [found for part in named if isinstance(part, dict) for found in _forms(schema, part)]
    # The tag of a discriminated union is a step of pydantic's path but not of the document.
    tags = [part.get("const") for part in form.get("properties", {}).values()]
    return [form] if step in tags else []


def _forms(schema: Mapping[str, Any], part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in part:
        return _forms(schema, schema["$defs"][part["$ref"].rsplit("/", 1)[1]])
    members = part.get("anyOf") or part.get("oneOf")
    return [form for member in members for form in _forms(schema, member)] if members else [part]
