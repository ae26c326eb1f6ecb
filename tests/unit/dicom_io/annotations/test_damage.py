"""Damaged annotation objects: whatever element is absent, empty or nonsense, the reader answers with items and reasons, never a crash."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import place_all
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.segmentation import write_segmentation
from dicom_io.series import find_instances
from dicom_io.volume import Volume
from tests.unit.dicom_io.annotations.drawings import (
    anchored,
    board,
    compound,
    graphic,
    group,
    image_uid,
    measured,
    measurements,
    on_image,
    presentation_state,
    reference,
    report,
    scoord,
    scoord3d,
    structure_set,
    to_corner,
    to_mm,
)
from tests.unit.dicom_io.ct_files import SERIES_UID, hook_mask, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

BOX = [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)]
NONSENSE = {"DS": "1", "IS": "-7", "US": 65535, "UL": 7, "FL": 1e30, "FD": float("nan"), "CS": "NONSENSE", "UI": "1.2", "LO": "", "SH": ""}


def _report(folder: Path, volume: Volume) -> InstanceHeader:
    drawn = scoord("POLYLINE", to_corner(BOX), on_image(3), concept=("111030", "DCM", "Image Region"))
    axis = measured(("103339001", "SCT", "Long Axis"), scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(6)))
    solid = scoord3d("POLYGON", to_mm(volume.affine, 4, BOX), ("111030", "DCM", "Image Region"))
    return report(folder / "object.dcm", measurements(group(drawn, axis), group(solid)))


def _presentation_state(folder: Path, volume: Volume) -> InstanceHeader:
    graphics = [graphic("POLYLINE", to_corner(BOX)), graphic("CIRCLE", to_corner([(10, 9), (14, 9)]))]
    drawn = board([reference(image_uid(3))], graphics, [compound("ARROW", to_corner([(4, 5), (16, 8)]))], [anchored("x", [4.5, 5.5])])
    return presentation_state(folder / "object.dcm", drawn)


def _structure_set(folder: Path, volume: Volume) -> InstanceHeader:
    contours = [("CLOSED_PLANAR", to_mm(volume.affine, k, BOX)) for k in (3, 4)]
    point = ("POINT", to_mm(volume.affine, 3, [(5, 6)]))
    return structure_set(folder / "object.dcm", [[*contours, point]], image=image_uid(3), series=SERIES_UID)


def _segmentation(folder: Path, volume: Volume) -> InstanceHeader:
    masks = np.stack([hook_mask(2, 4), hook_mask(2, 4, shift=6)])
    (folder / "object.dcm").write_bytes(write_segmentation(volume, masks, (KIDNEY, MASS), IDENTITY))
    return read_header(folder / "object.dcm")


WRITERS = {"SR": _report, "GSPS": _presentation_state, "RTSTRUCT": _structure_set, "SEG": _segmentation}


def _elements(dataset: Dataset, path: tuple[tuple[BaseTag, int], ...] = ()) -> Iterator[tuple[tuple[tuple[BaseTag, int], ...], BaseTag]]:
    """Every element of a data set: the sequences and items on the way, and its tag; of lists of like items only the first item."""
    for element in dataset:
        if element.tag.group > 0x0008 or element.VR == "SQ":
            yield path, element.tag
        if element.VR == "SQ":
            for index, item in enumerate(element.value[: 1 if element.keyword in ALIKE else None]):
                yield from _elements(item, (*path, (element.tag, index)))


ALIKE = ("PerFrameFunctionalGroupsSequence", "SegmentSequence", "ReferencedInstanceSequence", "ContributingEquipmentSequence")


def _damaged(dataset: Dataset, path: tuple[tuple[BaseTag, int], ...], tag: BaseTag, how: str) -> None:
    holder = dataset
    for sequence, index in path:
        holder = holder[sequence].value[index]
    element = holder[tag]
    if how == "absent" or (element.VR not in NONSENSE and element.VR != "SQ"):
        del holder[tag]
    elif how == "empty" or element.VR == "SQ":
        element.value = [] if element.VR == "SQ" else None
    else:
        element.value = NONSENSE[element.VR]


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_any_one_element_may_be_damaged(kind: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path / "ct", "oblique")
    images = find_instances(tmp_path / "ct")
    header = WRITERS[kind](tmp_path, volume)
    whole = place_all(read_annotations([header], images), volume, SERIES_UID)
    assert whole.rejected == ()
    everything = len(whole.placed)
    assert everything >= 2
    outcomes = set()
    for (path, tag), how in zip(_elements(header.dataset), itertools.cycle(("absent", "empty", "nonsense", "absent")), strict=False):
        dataset = pydicom.dcmread(header.path)
        _damaged(dataset, path, tag, how)
        damaged = tmp_path / "damaged.dcm"
        dataset.save_as(damaged)
        found = place_all(read_annotations([read_header(damaged)], images), volume, SERIES_UID)
        assert all(item.code in CODES and item.reason for item in found.rejected)
        outcomes.add((len(found.placed) < everything, bool(found.rejected)))
    assert (True, True) in outcomes  # what is lost is named


CODES = ("malformed-annotation", "unplaced-annotation", "annotation-elsewhere", "undecodable-pixels", "no-pixels")
