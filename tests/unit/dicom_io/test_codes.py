"""Our coded concepts are those of the standard's context groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from dicom_io.codes import CATEGORIES, LATERALITIES, Code


@pytest.mark.parametrize(("group", "codes"), [(7150, CATEGORIES), (244, LATERALITIES)])
def test_the_codes_of_a_context_group_are_exactly_the_standards(group: int, codes: Mapping[str, Code]) -> None:
    standard = set()
    for scheme, keywords in cid_concepts[group].items():
        for keyword in keywords:
            described: Any = concepts[scheme][keyword]
            standard |= {(value, scheme, meaning) for value, (meaning, _) in described.items()}
    assert {(code.value, code.scheme, code.meaning) for code in codes.values()} == standard


def test_a_code_without_meaning_or_beyond_16_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="code meaning: expected 1 to 64"):
        Code(value="1", scheme="SCT", meaning="")
    with pytest.raises(ValueError, match="code value: expected 1 to 16"):
        Code(value="1" * 17, scheme="SCT", meaning="x")
