"""Header attributes as text, by their DICOM keyword: what rules are matched against."""

from __future__ import annotations

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import READING_ERRORS, is_damage

_NOT_TEXT = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"})


def header_attributes(dataset: Dataset) -> dict[str, str | tuple[str, ...]]:
    """Return keyword -> text of all public elements that are neither binary nor sequences; several values give a tuple.

    Numbers keep the text they were stored with where DICOM stores text (`1.20` stays `1.20`). Elements that cannot be
    read are left out: one damaged element must not hide the others.
    """
    with without_pydicom_warnings():
        found = {keyword_for_tag(tag): _text(dataset, tag) for tag in list(dataset.keys()) if keyword_for_tag(tag)}
    return {keyword: text for keyword, text in found.items() if text is not None}


def _text(dataset: Dataset, tag: BaseTag) -> str | tuple[str, ...] | None:
    try:
        element = dataset[tag]
        if element.VR in _NOT_TEXT:
            return None
        value = element.value
        if isinstance(value, MultiValue | list | tuple):
            return tuple(str(one).strip() for one in value)
        return "" if value is None else str(value).strip()
    except READING_ERRORS:
        return None
    except OSError as error:
        if not is_damage(error):
            raise
        return None
