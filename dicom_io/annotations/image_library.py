"""The image library of a report: where its images lie, stated in the report itself (PS3.16 TID 1600 to 1604).

It serves where the images are not at hand. An entry may state what its group states for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from dicom_io.annotations import report_tree as tree
from dicom_io.annotations.image_places import ImagePlace
from dicom_io.annotations.report_tree import ContentItem
from dicom_io.frame_attributes import items_of, numbers
from dicom_io.geometry import PlaneGeometry

_NUMBERS: Mapping[str, str] = {
    "110910": "rows",
    "110911": "columns",
    "111026": "column_spacing",  # Horizontal Pixel Spacing
    "111066": "row_spacing",  # Vertical Pixel Spacing
    "110901": "x",
    "110902": "y",
    "110903": "z",
    "110904": "row_x",
    "110905": "row_y",
    "110906": "row_z",
    "110907": "column_x",
    "110908": "column_y",
    "110909": "column_z",
}
"""DCM code of a numeric descriptor -> what it states (PS3.16 TID 1602 to 1604)."""
_FRAME_OF_REFERENCE = tree.concepts(("112227", "DCM"))


def places_of_library(root: ContentItem) -> dict[str, ImagePlace]:
    """Return the places of the images that the library describes in full, by SOP Instance UID."""
    places: dict[str, ImagePlace] = {}
    for library in (child for child in root.children if child.means(tree.IMAGE_LIBRARY)):
        for group in (library, *(child for child in library.children if child.value_type == "CONTAINER")):
            shared = _descriptors(group)
            for entry in group.children:
                place = _place({**shared, **_descriptors(entry)}) if entry.value_type == "IMAGE" else None
                if place is not None:
                    places |= {image.sop_instance_uid: place for image in entry.images}
    return places


def _descriptors(item: ContentItem) -> dict[str, str | float]:
    found: dict[str, str | float] = {}
    for child in item.children:
        if child.means(_FRAME_OF_REFERENCE):
            found["frame_of_reference"] = child.text
        elif child.concept is not None and child.concept.scheme == "DCM" and child.concept.value in _NUMBERS:
            values = [number for value in items_of(child.dataset, "MeasuredValueSequence") for number in numbers(value, "NumericValue")]
            if values:
                found[_NUMBERS[child.concept.value]] = values[0]
    return found


def _place(stated: Mapping[str, str | float]) -> ImagePlace | None:
    if not set(_NUMBERS.values()) <= set(stated):
        return None
    given = {name: float(stated[name]) for name in _NUMBERS.values()}
    return ImagePlace(
        plane=PlaneGeometry(
            position_mm=(given["x"], given["y"], given["z"]),
            row_cosines=(given["row_x"], given["row_y"], given["row_z"]),
            column_cosines=(given["column_x"], given["column_y"], given["column_z"]),
            row_spacing_mm=given["row_spacing"],
            column_spacing_mm=given["column_spacing"],
        ),
        rows=int(given["rows"]),
        columns=int(given["columns"]),
        frame_of_reference_uid=str(stated.get("frame_of_reference", "")),
        series_instance_uid="",
    )
