"""Coded concepts against DICOM's context groups (PS3.16): a wrong code is a wrong finding that looks right.

| concept                      | group                                          |
|------------------------------|------------------------------------------------|
| segmented property category  | CID 7150, which viewers group by: no other     |
| segmented property type      | CID 7151 with all that it includes             |
| laterality                   | CID 244                                        |
| anatomic region              | CID 4, CID 4031, or a structure of CID 7151    |

Types and regions may also come from elsewhere (`unlisted`, or a private scheme 99...): the groups are extensible. SNOMED's
own check digit is looked at then, which finds most codes that were mistyped.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from dicom_io.codes import Code

CATEGORY_GROUPS, TYPE_GROUPS, LATERALITY_GROUPS, REGION_GROUPS = (7150,), (7151,), (244,), (4, 4031, 7151)
PRIVATE = "99"
"""Coding schemes that begin so are private (PS3.16 section 8)."""

_Dihedral = Sequence[Sequence[int]]


def check_concept(code: Code, groups: Sequence[int], *, extensible: bool, unlisted: bool = False) -> str | None:
    """Return what is wrong with a concept, None if nothing is.

    A code of the groups must have one of its meanings there, whatever the case of letters. `extensible`: others are allowed
    under a private scheme, or where a person vouches for them (`unlisted`).
    """
    known = _members(tuple(groups)).get((code.scheme, code.value))
    if known is not None:
        return None if code.meaning.casefold() in map(str.casefold, known) else _wrong_meaning(code, known)
    if extensible and code.scheme.startswith(PRIVATE):
        return None
    if extensible and unlisted:
        return _wrong_digit(code)
    named = ", ".join(f"CID {group}" for group in groups)
    cure = "; set unlisted: true beside the code if it is right, or use a private scheme 99..." if extensible else ""
    return f"expected a concept of {named}, got {code}{_hint(code, groups)}{cure}"


@cache
def _members(groups: tuple[int, ...]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(scheme, value) -> meanings of all concepts of the groups, those that they include included."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for group in groups:
        for scheme, keywords in cid_concepts[group].items():
            for keyword in keywords:
                described: Any = concepts[scheme][keyword]
                for value, (meaning, _) in described.items():
                    found[scheme, value] = (*found.get((scheme, value), ()), meaning)
    return found


def _wrong_meaning(code: Code, known: Sequence[str]) -> str:
    meanings = " or ".join(map(repr, known))
    return f"expected the meaning {meanings} for ({code.value}, {code.scheme}), got {code.meaning!r}; is it the right code?"


def _hint(code: Code, groups: Sequence[int]) -> str:
    """The code that has the meaning, or one like it."""
    meanings = {meaning.casefold(): key for key, meant in _members(tuple(groups)).items() for meaning in meant}
    close = difflib.get_close_matches(code.meaning.casefold(), meanings, n=1, cutoff=0.8)
    if not close:
        return ""
    scheme, value = meanings[close[0]]
    return f"; {_members(tuple(groups))[scheme, value][0]!r} is ({value}, {scheme})"


def _wrong_digit(code: Code) -> str | None:
    if code.scheme != "SCT" or (code.value.isdigit() and 6 <= len(code.value) <= 18 and _verhoeff(code.value) == 0):
        return None
    return f"expected a SNOMED CT identifier with a valid check digit, got {code}; a digit is wrong or two are exchanged"


def _verhoeff(digits: str) -> int:
    """Verhoeff's check (1969) as SNOMED CT uses it: 0 for a number whose last digit is right."""
    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = _MULTIPLIED[check][_permuted(position % 8, int(digit))]
    return check


def _permuted(times: int, digit: int) -> int:
    for _ in range(times):
        digit = _PERMUTATION[digit]
    return digit


def _dihedral() -> _Dihedral:
    """The multiplication table of the dihedral group of ten elements: five turns, and five turns of the mirrored pentagon."""

    def product(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5

    return [[product(a, b) for b in range(10)] for a in range(10)]


_MULTIPLIED = _dihedral()
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
