"""Coded concepts in rule files: a triplet `{value, scheme, meaning}`, or the name of a well-known one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from dicom_io.codes import CATEGORIES, LATERALITIES, Code
from rules.scalars import Section, Text, near_match


class Triplet(Section):
    """A coded concept written out (PS3.3 section 8.8)."""

    value: Text
    """Code value; kept as text, so that leading zeros survive."""
    scheme: Text
    """Coding scheme designator: SCT, DCM, UCUM or a private 99..."""
    meaning: Text


def _reader(names: Mapping[str, Code]) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, Code):
            return value
        if isinstance(value, str):
            return _named(value, names)
        return Code(**Triplet.model_validate(value).model_dump())

    return read


def _named(name: str, names: Mapping[str, Code]) -> Code:
    if name in names:
        return names[name]
    choices = f"one of {', '.join(names)} or {{value, scheme, meaning}}" if names else "{value, scheme, meaning}"
    raise ValueError(f"expected {choices}, got {name!r}{near_match(name, names)}")


def _schema(names: Mapping[str, Code]) -> dict[str, Any]:
    named = [{"enum": list(names)}] if names else []
    return {"anyOf": [*named, Triplet.model_json_schema()]}


CategoryCode: TypeAlias = Annotated[Code, BeforeValidator(_reader(CATEGORIES)), WithJsonSchema(_schema(CATEGORIES))]
"""CID 7150 by name, or a triplet."""
LateralityCode: TypeAlias = Annotated[Code, BeforeValidator(_reader(LATERALITIES)), WithJsonSchema(_schema(LATERALITIES))]
"""CID 244 by name, or a triplet."""
ConceptCode: TypeAlias = Annotated[Code, BeforeValidator(_reader({})), WithJsonSchema(_schema({}))]
"""A triplet."""
