"""Conditions: what a rule asks of a series' DICOM attributes and of the association that brought it.

A condition maps DICOM keywords, facts (`rules.facts`), `calling_ae_title`, `called_ae_title` and `source_address` to tests; all
of them must hold. `all`, `any` and `not` combine conditions. A multi-valued attribute (ImageType) passes a test when any of its
values does.

| in YAML                                | holds when a value                                                      |
|----------------------------------------|-------------------------------------------------------------------------|
| `Modality: CT`                         | equals the text (as numbers where the attribute is numeric: 5 is 5.000) |
| `Modality: [CT, PT]`                   | equals one of them                                                      |
| `SeriesDescription: {matches: "(?i).*liver.*"}` | matches the whole regular expression                           |
| `SliceThickness: {range: {minimum: 0.5, maximum: 5}}` | lies in the range, bounds included                       |
| `ContrastBolusAgent: {present: true}`  | is there and not empty (false: absent or empty)                         |
| `source_address: [10.2.0.0/16, 10.9.0.7]` | lies in one of the networks (CIDR), or is the address                |
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydicom.datadict import dictionary_VR, keyword_dict

from rules.facts import FACT_VALUES, FACTS
from rules.networks import network
from rules.pattern import compile_pattern
from rules.scalars import NUMBER, Flag, Number, Section, Text, near_match, shown

SOURCE_ADDRESS = "source_address"
NETWORK_KEYS = ("calling_ae_title", "called_ae_title", SOURCE_ADDRESS)
ADDRESS_VR = "an address"
NUMERIC_VRS = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "SV", "UL", "US", "UV"})
UNREADABLE_VRS = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})
COMBINATORS = ("all", "any", "not")


def representation(key: str) -> str:
    """Return the value representation of a condition key (PS3.6); AE for the two titles of the association, a fact's kind for a fact."""
    if key in FACTS:
        return FACTS[key]
    if key == SOURCE_ADDRESS:
        return ADDRESS_VR
    return "AE" if key in NETWORK_KEYS else dictionary_VR(keyword_dict[key])


def is_numeric(key: str) -> bool:
    """Tell whether the attribute's values are numbers; `US or SS` counts too."""
    return not NUMERIC_VRS.isdisjoint(representation(key).split(" or "))


def condition_key(key: str) -> str:
    """Return a key that conditions can ask for; raises ValueError with a near match for any other."""
    if key in NETWORK_KEYS or key in FACTS:
        return key
    if key not in keyword_dict:
        cure = near_match(key, (*keyword_dict, *NETWORK_KEYS, *FACTS, *COMBINATORS)) or "; keywords stand in PS3.6, for example Modality"
        raise ValueError(f"not a DICOM keyword{cure}")
    if not UNREADABLE_VRS.isdisjoint(representation(key).split(" or ")):
        raise ValueError(f"expected an attribute with a plain value, got one of {representation(key)}; conditions cannot look inside it")
    return key


def _checked_pattern(text: str) -> str:
    compile_pattern(text)
    return text


class Interval(Section):
    """A range of numbers, bounds included; at least one bound."""

    minimum: Number | None = None
    maximum: Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.minimum is None and self.maximum is None:
            raise ValueError("expected minimum, maximum or both, got neither")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"expected minimum <= maximum, got {self.minimum:g} and {self.maximum:g}")
        return self


class ValueTest(Section):
    """One test of one attribute; exactly one of its keys."""

    equals: Text | None = None
    one_of: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    matches: Annotated[Text, AfterValidator(_checked_pattern)] | None = None
    range: Interval | None = None
    present: Flag | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ValueTest:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of matches, range, present (or a text, or a list), got {', '.join(given) or 'none'}")
        return self


def _spelled_out(value: object) -> object:
    if isinstance(value, str):
        return {"equals": value}
    return {"one_of": value} if isinstance(value, list | tuple) else value


TEST_FORMS = {
    "anyOf": [
        {"type": ["string", "number"], "description": "equals"},
        {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1, "description": "equals one of"},
        {"type": "object", "properties": {"matches": {"type": "string"}}, "required": ["matches"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {
                "range": {
                    "type": "object",
                    "properties": {"minimum": {"type": "number"}, "maximum": {"type": "number"}},
                    "additionalProperties": False,
                }
            },
            "required": ["range"],
            "additionalProperties": False,
        },
        {"type": "object", "properties": {"present": {"type": "boolean"}}, "required": ["present"], "additionalProperties": False},
    ]
}
AttributeTest: TypeAlias = Annotated[ValueTest, BeforeValidator(_spelled_out), WithJsonSchema(TEST_FORMS)]
Keyword: TypeAlias = Annotated[str, AfterValidator(condition_key)]


class Condition(Section):
    """Tests by DICOM keyword, all of which must hold, and combinations of further conditions."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Keyword, AttributeTest]

    all: Annotated[tuple[Condition, ...], Field(min_length=1)] | None = None
    """Every one of these conditions must hold."""
    any: Annotated[tuple[Condition, ...], Field(min_length=1)] | None = None
    """At least one of these conditions must hold."""
    negation: Condition | None = Field(default=None, alias="not")
    """This condition must not hold."""

    @property
    def tests(self) -> dict[str, ValueTest]:
        """The tests by keyword, in the order of the file."""
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _asks_something(self) -> Condition:
        if not (self.tests or self.all or self.any or self.negation):
            raise ValueError("expected at least one condition (to match every series write `SeriesInstanceUID: {present: true}`), got none")
        for key, test in self.tests.items():
            if test.range is not None and not is_numeric(key):
                raise ValueError(f"{key}: a range compares numbers, got an attribute of {representation(key)}; use matches or a list")
            _expect_possible(key, test)
        return self


def wanted_values(test: ValueTest) -> tuple[str, ...] | None:
    """Return the values one of which a test asks for; None for a test of another form."""
    return (test.equals,) if test.equals is not None else test.one_of


def asked_keys(condition: Condition) -> frozenset[str]:
    """Return every key that a condition asks for, in its combinations too."""
    inner = (*(condition.all or ()), *(condition.any or ()), *((condition.negation,) if condition.negation else ()))
    return frozenset(condition.tests).union(*map(asked_keys, inner))


def _expect_possible(key: str, test: ValueTest) -> None:
    """Raise ValueError for a test that no value of `key` could ever pass."""
    wanted = wanted_values(test) or ()
    for value in wanted:
        if key in FACT_VALUES and value not in FACT_VALUES[key]:
            choices, cure = ", ".join(FACT_VALUES[key]), near_match(value, FACT_VALUES[key])
            raise ValueError(f"{key}: expected one of {choices}, got {shown(value)}, which could never apply{cure}")
        if is_numeric(key) and not NUMBER.fullmatch(value):
            raise ValueError(f"{key}: expected a number, got {shown(value)}, which could never apply")
        if key == SOURCE_ADDRESS:
            network(value)
    if key == SOURCE_ADDRESS and test.matches is not None:
        raise ValueError(f"{key}: expected addresses or networks such as 10.2.0.0/16, got a pattern")
