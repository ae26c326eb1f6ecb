"""Identifiers that derive from content."""

from __future__ import annotations

import uuid

import pytest
from pydicom.uid import UID

from dicom_io.uids import check_uid_root, derive_uid


@pytest.mark.parametrize("root", ["2.25", "1.2.826.0.1.3680043.10.1234", "2.16.756"])
def test_a_derived_uid_is_valid_and_stays_below_its_root(root: str) -> None:
    for n in range(200):
        uid = derive_uid(root, "job", str(n))
        assert UID(uid).is_valid
        assert uid.startswith(root + ".")


def test_equal_content_has_an_equal_uid_for_ever() -> None:
    assert derive_uid("2.25", "job", b"digest") == derive_uid("2.25", b"job", "digest")
    assert derive_uid("2.25", "a") == "2.25.78556527361325075225961833706058362748"
    assert derive_uid("1.2.3", "a") == "1.2.3.2673140106760131535908923584378283373564888771011162460781"


def test_other_content_has_another_uid_even_where_the_joined_text_is_the_same() -> None:
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("c", "ab")]
    assert len({derive_uid("2.25", *part) for part in parts}) == len(parts)


def test_a_uid_below_2_25_is_a_uuid_of_version_8() -> None:
    made = uuid.UUID(int=int(derive_uid("2.25", "x").removeprefix("2.25.")))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


@pytest.mark.parametrize("root", ["", "2.25.", "1.02.3", "3.1", "1", "1.40.1", "1.2.a", "1.2 ", "1.2.826." + "1" * 40])
def test_a_root_that_is_no_root_is_refused_with_what_was_expected(root: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got"):
        check_uid_root(root)


def test_a_uid_without_entropy_is_refused_because_it_would_be_everybodys() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        derive_uid("2.25")
