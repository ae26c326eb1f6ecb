"""`medsam2d inspect` says what a folder holds, in the JSON that scripts rely on and in a table for people, without patients."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import JPEGLSLossless, SecondaryCaptureImageStorage, generate_uid
from rich.console import Console

from daemon.commands.inspect import as_json, inspect_folder, show
from daemon.errors import ConfigError
from dicom_io.errors import NotDicom
from tests.unit.dicom_io.mutations import spoil, write_series

IDENTITY = ("Phantom^Synthetic", "SYNTHETIC-0000", "Synthetic phantom, no patient")


def folder_of_three(folder: Path) -> Path:
    """A volume with a scout, a torn volume in JPEG-LS, and secondary captures; a text file lies beside them."""

    def scout(dataset: FileDataset, index: int) -> None:
        if index == 6:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    series = {name: generate_uid() for name in ("torn", "screens")}

    def tear(dataset: FileDataset, index: int) -> None:
        dataset.SeriesInstanceUID = series["torn"]
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData.replace(b"\xff\xd9", b"\x12\x34")

    def capture(dataset: FileDataset, index: int) -> None:
        dataset.SeriesInstanceUID, dataset.SOPClassUID = series["screens"], SecondaryCaptureImageStorage

    spoil(write_series(folder / "1"), scout)
    spoil(write_series(folder / "2", "sagittal"), tear)
    spoil(write_series(folder / "3"), capture)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_json_has_the_shape_that_scripts_rely_on(tmp_path: Path) -> None:
    found = json.loads(as_json(inspect_folder(folder_of_three(tmp_path)), identify=False))
    assert list(found) == ["series"]
    first, torn, screens = found["series"]
    assert list(first) == ["series_instance_uid", "modality", "instances", "verdict", "code", "reason", "volumes"]
    assert (first["modality"], first["instances"], first["verdict"], first["code"]) == ("CT", 7, "volume", "")
    assert first["reason"].startswith("left out: [not-a-volume] image 7 is a localizer (scout)")
    assert first["volumes"] == [{"shape_kji": [6, 12, 10], "spacing_mm": [2.5, 0.8, 0.8], "plane": "axial", "quirks": []}]
    assert torn["volumes"][0]["plane"] == "sagittal"
    assert (screens["verdict"], screens["code"], screens["volumes"]) == ("refused", "not-a-volume", [])


def test_headers_promise_what_pixels_may_not_keep(tmp_path: Path) -> None:
    folder = folder_of_three(tmp_path)
    assert [series.verdict for series in inspect_folder(folder)] == ["volume", "volume", "refused"]
    by_pixels = inspect_folder(folder, pixels=True)
    assert [(series.verdict, series.code) for series in by_pixels][:2] == [("volume", ""), ("refused", "undecodable-pixels")]


def test_patients_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    found = inspect_folder(folder_of_three(tmp_path), pixels=True)
    for identify in (False, True):
        screen = io.StringIO()
        show(found, Console(file=screen, width=250), identify=identify)
        told = as_json(found, identify=identify)
        for text in IDENTITY:
            assert (text in screen.getvalue()) == identify
            assert (text in told) == identify


def test_the_table_names_decoder_grid_and_reason(tmp_path: Path) -> None:
    screen = io.StringIO()
    show(inspect_folder(folder_of_three(tmp_path)), Console(file=screen, width=250), identify=False)
    for words in ("6 x 12 x 10, 2.5 x 0.8 x 0.8 mm, axial", "JPEG-LS Lossless Image Compression by pyjpegls", "[not-a-volume]", "3 series"):
        assert words in screen.getvalue()


def test_a_place_without_dicom_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotDicom, match="no DICOM instance found"):
        inspect_folder(tmp_path)
    with pytest.raises(ConfigError, match="no such file or folder"):
        inspect_folder(tmp_path / "none")
