"""Made-up CT and MR series that keep to the standard: for the demonstration and for tests, never for patients.

Names and numbers are plainly fictitious, and UIDs derive from a seed: the same study always has the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.geometry import Float64, plane_name, spacing_mm
from dicom_io.uids import UUID_ROOT, derive_uid

Modality = Literal["CT", "MR"]

_SOP_CLASSES: Mapping[str, str] = {"CT": CTImageStorage, "MR": MRImageStorage}
_COSINE_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class SyntheticStudy:
    """What the instances say besides their pixels; a UID that is left empty derives from `seed` and the modality."""

    seed: int = 0
    patient_name: str = "Phantom^Synthetic"
    patient_id: str = "SYNTHETIC-0000"
    patient_birth_date: str = "19000101"
    patient_sex: str = "O"
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    frame_of_reference_uid: str = ""
    study_id: str = "SYNTHETIC"
    accession_number: str = "SYN0000"
    study_date: str = "20000101"
    """Of study, series, acquisition and content: YYYYMMDD."""
    study_time: str = "120000"
    study_description: str = "Synthetic phantom, no patient"
    series_description: str = "Synthetic phantom, no patient"
    series_number: int = 1
    body_part_examined: str = "ABDOMEN"
    patient_position: str = "HFS"
    slice_thickness_mm: float | None = None
    """The distance between slices where None."""


def write_ct_series(
    folder: Path,
    voxels_hu: NDArray[np.floating] | NDArray[np.integer],
    affine: Float64,
    study: SyntheticStudy | None = None,
    modality: Modality = "CT",
) -> tuple[Path, ...]:
    """Write one Part 10 file a slice into `folder` (made if absent); return their paths in the order of k.

    `voxels_hu`: (k, j, i), rounded to whole HU and stored as signed 16 bits (for MR: the signal itself, in any unit).
    `affine`: 4x4 float64, (k, j, i, 1) -> LPS millimetres, of any orientation; rows must be perpendicular to columns.
    CT and MR Image Storage (PS3.3 A.3, A.4), Explicit VR Little Endian. Raises ValueError for values that 16 bits do
    not hold, a wrong shape, or skewed rows.
    """
    stored = _stored(voxels_hu)
    _expect_grid(stored, affine)
    described = study or SyntheticStudy()
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(described, affine, modality)
    paths = []
    for k, pixels in enumerate(stored):
        path = folder / f"{modality}.{k + 1:05d}.dcm"
        _slice(common, described, (affine, k), pixels, modality).save_as(path, enforce_file_format=True)
        paths.append(path)
    return tuple(paths)


def _stored(voxels: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int16]:
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise ValueError(f"voxels: expected shape (k, j, i), got {voxels.shape}")
    rounded = np.rint(np.asarray(voxels, np.float64))
    if not np.isfinite(rounded).all() or rounded.min() < -32768 or rounded.max() > 32767:
        raise ValueError(f"voxels: expected -32768 to 32767, got {rounded.min()} to {rounded.max()}; clip or scale them first")
    return rounded.astype("<i2")


def _expect_grid(stored: NDArray[np.int16], affine: Float64) -> None:
    if affine.shape != (4, 4):
        raise ValueError(f"affine: expected shape (4, 4), got {affine.shape}")
    _, dj, di = spacing_mm(affine)
    if min(dj, di) <= 0.0 or abs(float(affine[:3, 1] @ affine[:3, 2])) > _COSINE_TOLERANCE * dj * di:
        raise ValueError("affine: expected columns j and i of some length and perpendicular to each other, as pixels of an image are")


def _common(study: SyntheticStudy, affine: Float64, modality: Modality) -> Dataset:
    """All that the instances of the series share."""
    entropy = ("synthetic", str(study.seed), modality)
    dataset = Dataset()
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": _SOP_CLASSES[modality],
        "StudyInstanceUID": study.study_instance_uid or derive_uid(UUID_ROOT, "synthetic", str(study.seed), "study"),
        "SeriesInstanceUID": study.series_instance_uid or derive_uid(UUID_ROOT, *entropy, "series"),
        "FrameOfReferenceUID": study.frame_of_reference_uid or derive_uid(UUID_ROOT, "synthetic", str(study.seed), "frame of reference"),
        "PatientName": study.patient_name,
        "PatientID": study.patient_id,
        "PatientBirthDate": study.patient_birth_date,
        "PatientSex": study.patient_sex,
        "StudyID": study.study_id,
        "AccessionNumber": study.accession_number,
        "ReferringPhysicianName": "",
        "StudyDescription": study.study_description,
        "SeriesDescription": study.series_description,
        "SeriesNumber": study.series_number,
        "AcquisitionNumber": 1,
        "Modality": modality,
        "BodyPartExamined": study.body_part_examined,
        "PatientPosition": study.patient_position,
        "PositionReferenceIndicator": "",
        "Manufacturer": "medsam2d",
        "ManufacturerModelName": "synthetic phantom",
        "SoftwareVersions": "1",
        "DeviceSerialNumber": "0",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
    }
    moments = {f"{what}{part}": text for what in ("Study", "Series", "Acquisition", "Content") for part, text in _moment(study).items()}
    _set(dataset, {**values, **moments, **_plane(study, affine), **_ACQUISITION[modality], **_PIXELS})
    dataset.ImageType = _image_type(affine, modality)
    return dataset


def _image_type(affine: Float64, modality: Modality) -> list[str]:
    """Value 3 of a CT image is AXIAL or LOCALIZER, nothing else (PS3.3 C.8.2.1.1.1): slices of other planes are reformatted."""
    if modality == "MR":
        return ["ORIGINAL", "PRIMARY", "OTHER"]
    return ["ORIGINAL", "PRIMARY", "AXIAL"] if plane_name(affine) == "axial" else ["DERIVED", "SECONDARY", "AXIAL"]


def _moment(study: SyntheticStudy) -> dict[str, str]:
    return {"Date": study.study_date, "Time": study.study_time}


def _plane(study: SyntheticStudy, affine: Float64) -> dict[str, object]:
    dk, dj, di = spacing_mm(affine)
    cosines = [*(affine[:3, 2] / di), *(affine[:3, 1] / dj)]
    return {
        "ImageOrientationPatient": [_decimal(value) for value in cosines],
        "PixelSpacing": [_decimal(dj), _decimal(di)],
        "SliceThickness": _decimal(dk if study.slice_thickness_mm is None else study.slice_thickness_mm),
    }


_PIXELS: Mapping[str, object] = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
}

# Type 1 and 2 attributes of the CT Image and MR Image modules (PS3.3 tables C.8-3 and C.8-4) that the rest does not state.
_ACQUISITION: Mapping[str, Mapping[str, object]] = {
    "CT": {
        "KVP": "120",
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "40",
        "WindowWidth": "400",
    },
    "MR": {
        "ScanningSequence": "GR",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "3D",
        "RepetitionTime": "10",
        "EchoTime": "4",
        "EchoTrainLength": "1",
        "MagneticFieldStrength": "1.5",
    },
}


def _slice(common: Dataset, study: SyntheticStudy, place: tuple[Float64, int], pixels: NDArray[np.int16], modality: Modality) -> Dataset:
    """Slice k of the grid `place` (affine, k) as a data set that is ready to be written."""
    affine, k = place
    dataset = Dataset()
    dataset.update(common)
    position = affine[:3, 3] + k * affine[:3, 0]
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    _set(
        dataset,
        {
            "SOPInstanceUID": derive_uid(UUID_ROOT, str(common.SeriesInstanceUID), modality, str(study.seed), str(k)),
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [_decimal(value) for value in position],
            "SliceLocation": _decimal(float(normal @ position) / float(np.linalg.norm(normal))),
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "PixelData": pixels.tobytes() + b"\x00" * (pixels.nbytes % 2),
        },
    )
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _set(dataset: Dataset, values: Mapping[str, object]) -> None:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2), without the minus of a negative zero."""
    return format_number_as_ds(float(value) + 0.0)
