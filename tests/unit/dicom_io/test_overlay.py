"""The secondary capture: pixel for pixel the picture, and of the right patient."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_io.errors import InvalidOverlay
from dicom_io.overlay import check_overlay, write_overlay
from dicom_io.preview import overlay_picture
from dicom_io.segmentation_source import read_source_headers
from tests.e2e.readers import dcentvfy_errors, dciodvfy_errors
from tests.unit.dicom_io.ct_files import STUDY_UID, hook_mask, write_volume
from tests.unit.dicom_io.results import IDENTITY


def test_the_picture_comes_back_pixel_for_pixel_under_the_sources_patient(tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    headers = read_source_headers(volume)
    picture = overlay_picture(volume.voxels, [hook_mask()], ["Left kidney"], (0.0, 100.0))
    part10 = write_overlay(picture, IDENTITY, headers)
    check_overlay(part10, picture, headers)
    read = pydicom.dcmread(io.BytesIO(part10))
    np.testing.assert_array_equal(read.pixel_array, picture)
    assert (read.StudyInstanceUID, read.PatientName, read.BurnedInAnnotation) == (STUDY_UID, "Möller^Zoë", "NO")
    assert write_overlay(picture, IDENTITY, read_source_headers(volume)) == part10
    path = tmp_path / "overlay.dcm"
    path.write_bytes(part10)
    assert dciodvfy_errors(path) == []
    assert dcentvfy_errors([*(source.path for source in volume.sources if source and source.path), path]) == []


def _spoil_pixels(dataset: Dataset) -> None:
    dataset.PixelData = b"\1" + dataset.PixelData[1:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda dataset: setattr(dataset, "PatientID", "OTHER"), "PatientID: expected the source's value"),
        (_spoil_pixels, "pixels: expected those that were drawn"),
        (lambda dataset: dataset.SourceImageSequence.pop(), "expected 9 instances, got 8"),
        (lambda dataset: delattr(dataset, "PixelData"), "got one that lacks"),
    ],
)
def test_a_picture_that_was_changed_is_caught(spoil: Callable[[Dataset], object], message: str, tmp_path: Path) -> None:
    volume = write_volume(tmp_path)
    headers = read_source_headers(volume)
    picture = overlay_picture(volume.voxels, [hook_mask()], ["Left kidney"], (0.0, 100.0))
    dataset = pydicom.dcmread(io.BytesIO(write_overlay(picture, IDENTITY, headers)))
    spoil(dataset)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(InvalidOverlay, match=message):
        check_overlay(buffer.getvalue(), picture, headers)
