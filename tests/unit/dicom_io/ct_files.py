"""Small CT series on disk and the volume that stands for them, made here so that no reader of ours judges itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from dicom_io.geometry import Float64, PlaneGeometry, affine_from_planes
from dicom_io.volume import SourceFrame, Volume

ROWS, COLUMNS, SLICES = 20, 28, 9
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
SERIES_UID = "1.2.826.0.1.3680043.8.498.2"
FRAME_OF_REFERENCE_UID = "1.2.826.0.1.3680043.8.498.3"
ENHANCED_UID = "1.2.826.0.1.3680043.8.498.4"

ROTATED = np.array([[0.8660254, 0.5, 0.0], [-0.4698463, 0.8137977, 0.3420201], [0.1710101, -0.2961981, 0.9396926]])

# name -> row cosines, column cosines, (between rows, between columns) mm, slice step mm, patient position
GEOMETRIES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, float], float, str]] = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.8, 0.8), 2.5, "HFS"),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 1.0), 3.0, "HFS"),
    "oblique": (tuple(ROTATED[0]), tuple(ROTATED[1]), (0.75, 0.75), 2.0, "HFS"),
    "feet-first": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.8, 0.8), 2.5, "FFS"),
    "anisotropic": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.9), 1.25, "HFS"),
}


def affine_of(name: str, origin_mm: tuple[float, float, float] = (-101.3, -55.7, 33.1)) -> Float64:
    """The 4x4 matrix of one of `GEOMETRIES`."""
    row, column, spacing, step, _ = GEOMETRIES[name]
    plane = PlaneGeometry(
        position_mm=origin_mm,
        row_cosines=(row[0], row[1], row[2]),
        column_cosines=(column[0], column[1], column[2]),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
    )
    return affine_from_planes(plane, (plane.normal * step).tolist())


def patient_and_study() -> Dataset:
    """Attributes of the patient, study, series and equipment, as a scanner writes them."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName, header.PatientID = "Möller^Zoë", "PHANTOM-7"
    header.PatientBirthDate, header.PatientSex = "19560708", "F"
    header.StudyInstanceUID, header.StudyID = STUDY_UID, "S1"
    header.StudyDate, header.StudyTime = "20240229", "101112"
    header.AccessionNumber, header.ReferringPhysicianName = "A77", ""
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = SERIES_UID, 3, "CT"
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = FRAME_OF_REFERENCE_UID, "SN"
    header.BodyPartExamined, header.TimezoneOffsetFromUTC = "ABDOMEN", "-0330"
    header.Manufacturer, header.ManufacturerModelName = "Phantom Works", "Ring 1"
    return header


def write_volume(folder: Path, name: str = "axial", header: Dataset | None = None) -> Volume:
    """Write one file a slice, named against the slice order, and return the volume that stands for them."""
    affine = affine_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for k in range(SLICES):
        image = Dataset()
        image.update(patient_and_study() if header is None else header)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"{SERIES_UID}.{SLICES - k}"
        image.InstanceNumber, image.ImageType = SLICES - k, ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientPosition = GEOMETRIES[name][4]
        image.ImagePositionPatient = _ds(affine[:3, 3] + k * affine[:3, 0])
        image.ImageOrientationPatient = _ds([*GEOMETRIES[name][0], *GEOMETRIES[name][1]])
        image.PixelSpacing = _ds(GEOMETRIES[name][2])
        if "SliceThickness" not in image:
            image.SliceThickness = _ds([GEOMETRIES[name][3]])[0]
        path = folder / f"image{SLICES - k:02d}.dcm"
        _save(image, path, frames=1)
        sources.append(SourceFrame(path=path, sop_class_uid=CTImageStorage, sop_instance_uid=image.SOPInstanceUID))
    return _volume(affine, sources)


def write_enhanced_volume(path: Path, name: str = "axial") -> Volume:
    """Write one multi-frame file whose frames run against the slice order, and return the volume that stands for it."""
    affine = affine_of(name)
    image = patient_and_study()
    image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, ENHANCED_UID
    image.InstanceNumber, image.ImageType = 1, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = _ds(GEOMETRIES[name][2]), _ds([GEOMETRIES[name][3]])[0]
    orientation.ImageOrientationPatient = _ds([*GEOMETRIES[name][0], *GEOMETRIES[name][1]])
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = []
    for k in reversed(range(SLICES)):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = _ds(affine[:3, 3] + k * affine[:3, 0])
        frame.PlanePositionSequence = [position]
        frame.PlaneOrientationSequence = [orientation]
        image.PerFrameFunctionalGroupsSequence.append(frame)
    _save(image, path, frames=SLICES)
    return _volume(
        affine,
        [
            SourceFrame(path=path, sop_class_uid=EnhancedCTImageStorage, sop_instance_uid=ENHANCED_UID, frame_number=SLICES - k)
            for k in range(SLICES)
        ],
    )


def hook_mask(k0: int = 1, k1: int = 6, shift: int = 0) -> NDArray[np.bool_]:
    """(k, j, i): a tapering hook that no flip, turn or swap of axes maps onto itself."""
    mask = np.zeros((SLICES, ROWS, COLUMNS), np.bool_)
    for k in range(k0, k1):
        mask[k, 3 : 14 - k, 4 + shift : 7 + shift] = True
        mask[k, 3:5, 4 + shift : 16 + k + shift] = True
    return mask


def _ds(numbers: object) -> list[float]:
    return [round(float(number), 7) for number in np.asarray(numbers, np.float64).ravel()]


def _save(image: Dataset, path: Path, frames: int) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = ROWS, COLUMNS
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.RescaleIntercept, image.RescaleSlope = 0, 1
    if frames > 1:
        image.NumberOfFrames = frames
    image.PixelData = np.zeros((frames, ROWS, COLUMNS), np.int16).tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def _volume(affine: Float64, sources: list[SourceFrame]) -> Volume:
    return Volume(
        voxels=np.zeros((SLICES, ROWS, COLUMNS), np.float32),
        affine=affine,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID,
        sources=tuple(sources),
    )
