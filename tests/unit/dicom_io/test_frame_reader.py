"""Pictures without a place in the patient: high values are bright, whatever the photometric interpretation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ComputedRadiographyImageStorage, UltrasoundMultiFrameImageStorage

from dicom_io.errors import NotAVolume
from dicom_io.frame_reader import read_frames
from dicom_io.instance import read_header
from dicom_io.series import read_series
from tests.unit.dicom_io.mutations import write_series


def radiograph(folder: Path, photometric: str) -> Path:
    (path,) = write_series(folder)[:1]
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.PhotometricInterpretation, dataset.Modality = photometric, "CR"
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    dataset.PixelData = np.arange(120, dtype=np.uint16).tobytes()
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.save_as(path)
    return path


def test_a_radiograph_in_monochrome1_is_inverted_once_within_its_stored_bits(tmp_path: Path) -> None:
    positive = read_frames(read_header(radiograph(tmp_path / "2", "MONOCHROME2"))).frames
    negative = read_frames(read_header(radiograph(tmp_path / "1", "MONOCHROME1"))).frames
    assert np.array_equal(negative, 4095 - positive)
    assert negative.dtype == np.uint16


def test_a_radiograph_is_a_picture_and_no_volume(tmp_path: Path) -> None:
    series = read_series([radiograph(tmp_path, "MONOCHROME2")])
    assert (len(series.pictures), series.stacks, series.refused) == (1, (), ())
    with pytest.raises(NotAVolume, match=r"1 cine or single picture\(s\) without a place"):
        series.expect_stacks()


def test_a_cine_keeps_its_frames_and_their_time(tmp_path: Path) -> None:
    path = radiograph(tmp_path, "MONOCHROME2")
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.NumberOfFrames, dataset.FrameTime = 2, "40"
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(path)
    (header,) = read_series([path]).pictures
    stack = read_frames(header)
    assert (stack.frames.shape, stack.frame_time_ms) == ((2, 12, 10), 40.0)
