"""Series of damaged files: headers, grouping, judging, volumes and pictures, as a worker reads what the spool holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage, UltrasoundMultiFrameImageStorage

from dicom_io.attributes import header_attributes
from dicom_io.errors import RejectedInput
from dicom_io.frame_reader import read_frames
from dicom_io.instance import InstanceHeader
from dicom_io.series import find_instances, group_by_series, judge_series
from dicom_io.slice_stack import Refused
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from dicom_io.volume_reader import read_or_refuse
from tests.fuzz.byte_faults import Dice
from tests.fuzz.element_faults import damaged, whole
from tests.fuzz.elements import Tree, parse
from tests.fuzz.guard import MARKER, PATIENT, expect_discreet
from tests.fuzz.surface import Surface, Try
from tests.unit.dicom_io.enhanced_files import write_enhanced
from tests.unit.dicom_io.mutations import affine_of

STUDY = SyntheticStudy(patient_name=PATIENT[0], patient_id=PATIENT[1], accession_number=MARKER)
SHAPE = (4, 6, 5)


def trees(paths: Sequence[Path]) -> tuple[Tree, ...]:
    """The files as trees of elements."""
    return tuple(parse(path.read_bytes()) for path in paths)


def ct_series(folder: Path) -> tuple[Path, ...]:
    """A small CT of a patient whose name must not be told."""
    voxels = (np.arange(np.prod(SHAPE), dtype=np.int16) - 50).reshape(SHAPE)
    return write_ct_series(folder, voxels, affine_of("oblique"), STUDY)


def _pet(path: Path) -> Path:
    image = pydicom.dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
    image.Modality, image.Units, image.DecayCorrection, image.CorrectedImage = "PT", "BQML", "START", ["ATTN", "DECY"]
    image.PatientWeight, image.SeriesTime, image.SeriesDate = "70", "120000", "20000101"
    dose = Dataset()
    dose.RadionuclideTotalDose, dose.RadionuclideHalfLife, dose.RadiopharmaceuticalStartTime = "3.5e8", "6586.2", "113000"
    image.RadiopharmaceuticalInformationSequence = [dose]
    image.RescaleSlope, image.RescaleIntercept = "1.5", "0"
    image.save_as(path)
    return path


def _cine(path: Path) -> Path:
    image = pydicom.dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    image.Modality, image.NumberOfFrames, image.FrameTime = "US", 3, "33.3"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PixelData = bytes(3 * image.Rows * image.Columns)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        delattr(image, keyword)
    image.save_as(path)
    return path


def _enhanced(path: Path) -> Path:
    write_enhanced(path, affine_of("oblique"), volumes=2)
    image = pydicom.dcmread(path)
    image.PatientName, image.PatientID = PATIENT
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    image.FrameOfReferenceUID = "1.2.3.4"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(path)
    return path


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    made = folder / "made"
    ct = trees(ct_series(made / "ct"))
    pet = trees([_pet(path) for path in ct_series(made / "pet")])
    (made / "enhanced").mkdir(exist_ok=True)
    families = (ct, ct, pet, trees([_enhanced(made / "enhanced" / "1.dcm")]), trees([_cine(ct_series(made / "cine")[0])]))
    lenders = [family[0] for family in families]
    place = folder / "series"
    place.mkdir()

    def attempt(dice: Dice) -> str:
        family = dice.choice(families)
        spoilt = set(dice.sample(range(len(family)), dice.choice((1, 1, len(family)))))
        for index, tree in enumerate(family):
            path = place / f"{index}.dcm"
            path.write_bytes(damaged(dice, tree, lenders) if index in spoilt else whole(tree))
        try:
            return _read(place)
        finally:
            for path in place.iterdir():
                path.unlink()

    yield attempt


def _read(place: Path) -> str:
    outcomes = [_judge(headers) for headers in group_by_series(find_instances(place)).values()]
    return min(outcomes) if outcomes else "not-dicom"


def _judge(headers: tuple[InstanceHeader, ...]) -> str:
    try:
        series = judge_series(headers)
    except RejectedInput as error:
        expect_discreet(str(error))
        return error.code
    for header in headers:
        header_attributes(header.dataset)
    for part in series.refused:
        expect_discreet(str(part.error))
    outcomes = [part.error.code for part in series.refused]
    for stack in series.stacks:
        volume = read_or_refuse(stack)
        if isinstance(volume, Refused):
            expect_discreet(str(volume.error))
            outcomes.append(volume.error.code)
            continue
        assert np.isfinite(volume.affine).all()
        assert np.isfinite(volume.voxels).all(), "voxels that are no numbers"
        outcomes.append("a volume")
    for picture in series.pictures:
        try:
            read_frames(picture)
            outcomes.append("a picture")
        except RejectedInput as error:
            expect_discreet(str(error))
            outcomes.append(error.code)
    return min(outcomes)


SURFACE = Surface(name="series", opened=_opened, refusals=(RejectedInput,))
