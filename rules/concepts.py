"""Coded concepts in rule files: a triplet `{value, scheme, meaning}`, or the name of a well-known one.

They are checked against DICOM's context groups when the rules load: there is no default code, and no unnoticed wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from dicom_io.codes import CATEGORIES, LATERALITIES, Code
from dicom_io.context_groups import CATEGORY_GROUPS, LATERALITY_GROUPS, REGION_GROUPS, TYPE_GROUPS, check_concept
from rules.scalars import Flag, Section, Text, near_match


class Triplet(Section):
    """A coded concept written out (PS3.3 section 8.8)."""

    value: Text
    """Code value; kept as text, so that leading zeros survive."""
    scheme: Text
    """Coding scheme designator: SCT, DCM, UCUM or a private 99..."""
    meaning: Text
    unlisted: Flag = False
    """true: the code is right although DICOM's context groups do not hold it."""


def _reader(names: Mapping[str, Code], groups: Sequence[int]) -> Callable[[object], object]:
    """Read a concept of `groups`; those with well-known names are closed, the others may be extended."""

    def read(value: object) -> object:
        if isinstance(value, Code):
            return value
        if isinstance(value, str):
            return _named(value, names)
        triplet = Triplet.model_validate(value)
        code = Code(value=triplet.value, scheme=triplet.scheme, meaning=triplet.meaning)
        fault = check_concept(code, groups, extensible=not names, unlisted=triplet.unlisted) if groups else None
        if fault is not None:
            raise ValueError(fault)
        return code

    return read


def _named(name: str, names: Mapping[str, Code]) -> Code:
    if name in names:
        return names[name]
    choices = f"one of {', '.join(names)} or {{value, scheme, meaning}}" if names else "{value, scheme, meaning}"
    raise ValueError(f"expected {choices}, got {name!r}{near_match(name, names)}")


def _schema(names: Mapping[str, Code]) -> dict[str, Any]:
    named = [{"enum": list(names)}] if names else []
    return {"anyOf": [*named, Triplet.model_json_schema()]}


CategoryCode: TypeAlias = Annotated[
    Code, BeforeValidator(_reader(CATEGORIES, CATEGORY_GROUPS)), WithJsonSchema(_schema(CATEGORIES))
]  # fmt: skip
"""CID 7150 by name, or a triplet."""
LateralityCode: TypeAlias = Annotated[
    Code, BeforeValidator(_reader(LATERALITIES, LATERALITY_GROUPS)), WithJsonSchema(_schema(LATERALITIES))
]
"""CID 244 by name, or a triplet."""
TypeCode: TypeAlias = Annotated[Code, BeforeValidator(_reader({}, TYPE_GROUPS)), WithJsonSchema(_schema({}))]
"""A triplet of CID 7151, or one that a person vouches for."""
RegionCode: TypeAlias = Annotated[Code, BeforeValidator(_reader({}, REGION_GROUPS)), WithJsonSchema(_schema({}))]
"""A triplet of CID 4 or 4031, a structure of CID 7151, or one that a person vouches for."""
ConceptCode: TypeAlias = Annotated[Code, BeforeValidator(_reader({}, ())), WithJsonSchema(_schema({}))]
"""Any triplet: what others wrote is looked for in their own codes, right or wrong."""
