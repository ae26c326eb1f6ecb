"""Careful access to attributes that nobody vouches for: what cannot be read is absent, and words about it never quote it.

pydicom converts a value when it is asked for, so that a damaged element fails wherever it is first used.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

READING_ERRORS = (
    InvalidDicomError, BytesLengthException, struct.error, zlib.error,
    ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError, OverflowError, AttributeError, RecursionError,
    StopIteration,
)  # fmt: skip
"""What pydicom raises on bytes that are not, or not wholly, DICOM; beside these an OSError without a number (`is_damage`)."""

LONGEST_WORDS = 200
_UID = re.compile(r"[0-9][0-9.]{0,63}")
"""Looser than PS3.5 section 9.1 (archives hold leading zeros), yet safe in a file name and in a message."""
_WORD = re.compile(r"[A-Z0-9_ ]{1,16}")
_QUOTATION = re.compile(r"""(?<!\w)b?(['"])(?:\\.|(?!\1).)*(?:\1|\Z)""", re.DOTALL)


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an attribute, None where it is absent or unreadable. Raises OSError only where its file cannot be read."""
    try:
        return dataset.get(keyword)
    except READING_ERRORS:
        return None
    except OSError as error:
        if not is_damage(error):
            raise
        return None


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as text without outer spaces, empty where it is absent or unreadable. Raises OSError as `value_of` does."""
    value = value_of(dataset, keyword)
    try:
        return "" if value is None else str(value).strip()
    except READING_ERRORS:
        return ""
    except OSError as error:
        if not is_damage(error):
            raise
        return ""


def is_uid(text: str) -> bool:
    """Whether a text is 1 to 64 digits and dots, of which the first is a digit."""
    return _UID.fullmatch(text) is not None


def shown_uid(text: str) -> str:
    """Return a UID as it is, and anything else by its length alone: a damaged length makes a UID of the patient's name beside it."""
    return text if is_uid(text) else f"{len(text)} characters that are no UID" if text else "none"


def shown_word(text: str) -> str:
    """Return a code string (PS3.5 table 6.2-1, CS) as it is, and anything else by its length alone."""
    return text if _WORD.fullmatch(text) else f"{len(text)} other characters" if text else "none"


def is_damage(error: OSError) -> bool:
    """Whether an OSError speaks of bytes rather than of a file: pydicom raises its own, without a number, where a sequence ends early."""
    return error.errno is None


def in_words(error: BaseException) -> str:
    """Return a library's error in words that can be logged: without what it quotes, which may be a patient's, and never long."""
    words = " ".join(_QUOTATION.sub("...", str(error)).split())
    return "".join(filter(str.isprintable, words))[:LONGEST_WORDS] or type(error).__name__
