"""Small enhanced multi-frame CT, MR and PET instances, written here so that no reader of ours judges itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage, EnhancedPETImageStorage, ExplicitVRLittleEndian, generate_uid

from dicom_io.geometry import Float64, spacing_mm
from tests.unit.dicom_io.mutations import voxels

CLASSES = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}

Describe = Callable[[Dataset, int, int], None]
"""Adds to the functional groups of slice k of volume n."""


def write_enhanced(path: Path, affine: Float64, modality: str = "CT", volumes: int = 1, describe: Describe | None = None) -> Path:
    """Write all volumes into one instance, slices downwards and volumes in turn; frame (k, n) has slope 2 and intercept 100 n - k."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CLASSES[modality], generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
    image.Modality, image.InstanceNumber, image.ImageType = modality, 1, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    stored = voxels()
    slices, image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.SharedFunctionalGroupsSequence = [_shared(affine)]
    order = [(k, n) for k in reversed(range(slices)) for n in range(volumes)]
    image.PerFrameFunctionalGroupsSequence = [_frame(affine, k, n, describe) for k, n in order]
    image.NumberOfFrames = len(order)
    image.PixelData = np.stack([stored[k] for k, _ in order]).tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return path


def expected_voxels(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What volume n must read as."""
    return (voxels() * 2.0 + 100 * n - np.arange(7)[:, None, None]).astype(np.float32)


def put(groups: Dataset, sequence: str, **values: object) -> None:
    """Add a functional group with one item."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    setattr(groups, sequence, [item])


def _shared(affine: Float64) -> Dataset:
    groups = Dataset()
    dk, dj, di = spacing_mm(affine)
    put(groups, "PixelMeasuresSequence", PixelSpacing=_numbers([dj, di]), SliceThickness=_numbers([dk])[0])
    put(groups, "PlaneOrientationSequence", ImageOrientationPatient=_numbers([*affine[:3, 2] / di, *affine[:3, 1] / dj]))
    return groups


def _frame(affine: Float64, k: int, n: int, describe: Describe | None) -> Dataset:
    groups = Dataset()
    put(groups, "PlanePositionSequence", ImagePositionPatient=_numbers(affine[:3, 3] + k * affine[:3, 0]))
    put(groups, "PixelValueTransformationSequence", RescaleSlope="2", RescaleIntercept=str(100 * n - k), RescaleType="HU")
    if describe is not None:
        describe(groups, k, n)
    return groups


def _numbers(values: Sequence[float] | Float64) -> list[float]:
    return [round(float(value), 7) for value in values]
