"""Damaged SR, GSPS, RTSTRUCT and SEG objects beside a sound series: read as annotations of a study and placed on its volume."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import masks_on, place_all
from dicom_io.errors import MalformedAnnotation, NotDicom
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_types import SegmentationForm
from dicom_io.series import find_instances
from dicom_io.volume import Volume
from tests.fuzz.byte_faults import Dice
from tests.fuzz.element_faults import damaged
from tests.fuzz.elements import Tree, parse
from tests.fuzz.guard import MARKER, PATIENT, expect_discreet
from tests.fuzz.surface import Surface, Try
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
from tests.unit.dicom_io.ct_files import SERIES_UID, hook_mask, patient_and_study, write_volume
from tests.unit.dicom_io.results import IDENTITY, KIDNEY, MASS

BOX = [(2.5, 3.5), (9.5, 3.5), (9.5, 11.5), (2.5, 11.5), (2.5, 3.5)]
CODES = frozenset(("malformed-annotation", "unplaced-annotation", "annotation-elsewhere", "undecodable-pixels", "no-pixels"))
Writer = Callable[[Path, Volume], InstanceHeader]


def _report(path: Path, volume: Volume) -> InstanceHeader:
    drawn = scoord("POLYLINE", to_corner(BOX), on_image(3), concept=("111030", "DCM", "Image Region"))
    axis = measured(("103339001", "SCT", "Long Axis"), scoord("POLYLINE", to_corner([(4, 5), (16, 8)]), on_image(6)))
    solid = scoord3d("POLYGON", to_mm(volume.affine, 4, BOX), ("111030", "DCM", "Image Region"))
    ball = scoord3d(
        "ELLIPSOID", to_mm(volume.affine, 4, [(4, 5), (12, 5), (8, 2), (8, 8), (8, 4), (8, 6)]), ("111030", "DCM", "Image Region")
    )
    return report(path, measurements(group(drawn, axis), group(solid), group(ball)))


def _presentation_state(path: Path, _volume: Volume) -> InstanceHeader:
    graphics = [graphic("POLYLINE", to_corner(BOX)), graphic("CIRCLE", to_corner([(10, 9), (14, 9)]))]
    drawn = board([reference(image_uid(3))], graphics, [compound("ARROW", to_corner([(4, 5), (16, 8)]))], [anchored(MARKER, [4.5, 5.5])])
    shown = board([reference(image_uid(2))], [graphic("ELLIPSE", [0.1, 0.5, 0.9, 0.5, 0.5, 0.2, 0.5, 0.8], "DISPLAY")])
    return presentation_state(path, drawn, shown)


def _structure_set(path: Path, volume: Volume) -> InstanceHeader:
    contours = [("CLOSED_PLANAR", to_mm(volume.affine, k, BOX)) for k in (3, 4)]
    point, line = ("POINT", to_mm(volume.affine, 3, [(5, 6)])), ("OPEN_PLANAR", to_mm(volume.affine, 3, [(5, 6), (9, 9)]))
    return structure_set(path, [[*contours, point], [line]], image=image_uid(3), series=SERIES_UID)


def segmentation(path: Path, volume: Volume) -> InstanceHeader:
    masks = np.stack([hook_mask(2, 4), hook_mask(2, 4, shift=6)])
    path.write_bytes(write_segmentation(volume, masks, (KIDNEY, MASS), IDENTITY))
    return read_header(path)


def label_map(path: Path, volume: Volume) -> InstanceHeader:
    masks = np.stack([hook_mask(2, 4), hook_mask(4, 6)])
    path.write_bytes(write_segmentation(volume, masks, (KIDNEY, MASS), IDENTITY, form=SegmentationForm.LABELMAP))
    return read_header(path)


def seeds(folder: Path, *writers: Writer) -> tuple[tuple[Tree, ...], Volume]:
    """Sound objects as trees, of a patient whose name must not be told, and the volume that they were drawn on."""
    header = patient_and_study()
    header.PatientName, header.PatientID = PATIENT
    volume = write_volume(folder / "ct", "oblique", header)
    found = []
    for number, writer in enumerate(writers):
        path = folder / f"{number}.dcm"
        writer(path, volume)
        found.append(parse(_explicit(path)))
    return tuple(found), volume


def _explicit(path: Path) -> bytes:
    """The file in Explicit VR, which trees are read from; compressed files are that already."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_implicit_VR:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.PatientName, dataset.PatientID = PATIENT
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return path.read_bytes()


@contextlib.contextmanager
def _opened(writers: tuple[Writer, ...], folder: Path) -> Iterator[Try]:
    trees, volume = seeds(folder, *writers)
    images = find_instances(folder / "ct")
    path = folder / "object.dcm"

    def attempt(dice: Dice) -> str:
        path.write_bytes(damaged(dice, dice.choice(trees), trees))
        found = read_annotations([read_header(path)], images)
        placed = place_all(found, volume, SERIES_UID)
        for item in placed.rejected:
            assert item.code in CODES
            expect_discreet(f"{item.item}: {item.reason}")
        with contextlib.suppress(MalformedAnnotation):
            masks_on(found.found, volume)
        if placed.placed:
            return "placed"
        return placed.rejected[0].code if placed.rejected else "nothing drawn"

    yield attempt


def _surface(name: str, *writers: Writer) -> Surface:
    return Surface(name=name, opened=partial(_opened, writers), refusals=(NotDicom,))


REPORT = _surface("sr", _report)
PRESENTATION_STATE = _surface("gsps", _presentation_state)
STRUCTURE_SET = _surface("rtstruct", _structure_set)
SEGMENTATION = _surface("seg", segmentation, label_map)
