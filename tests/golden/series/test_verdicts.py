"""The verdict on every real series at hand, as a radiology engineer would give it: volumes with their grids, cine, or why not."""

from __future__ import annotations

import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from daemon.commands.inspect import InspectedSeries, inspect_folder

Row = tuple[str, str, str, str]
"""Modality, verdict, code, and the volumes: shape, spacing in mm, plane, quirks."""

STS = "ct_pet_mr_sts_rtstruct"
CONTOURS: Row = ("RTSTRUCT", "refused", "no-pixels", "")
SEGMENTATION: Row = ("SEG", "refused", "not-a-volume", "")
DTI = "8x128x128 2.70x2.73x2.73 axial"
DIRECTION = f"{DTI} no-frame-of-reference split-by-b-value split-by-diffusion-direction"

VERDICTS: dict[str, list[Row]] = {
    "compressed_ct_all_syntaxes": [
        # One slice seven times over, under seven UIDs; then a perfusion map in colours, two single slices, a report, stills.
        ("CT", "refused", "duplicate-positions", ""),
        ("CT", "refused", "not-a-volume", ""),
        ("CT", "volume", "", "1x512x512 5.00x0.66x0.66 axial single-slice"),
        ("CT", "volume", "", "1x512x512 10.00x0.47x0.47 axial single-slice"),
        ("OT", "refused", "not-a-volume", ""),
        ("SR", "refused", "no-pixels", ""),
        ("US", "cine", "", ""),
        ("US", "cine", "", ""),
    ],
    "ct_dicom_j2k_totalseg": [("CT", "volume", "", "20x512x512 2.00x0.98x0.98 axial filled-identity overlapping-slices")],
    "ct_dicom_rtstruct": [("CT", "volume", "", "134x512x512 3.00x0.98x0.98 axial"), CONTOURS],
    "ct_gtv_rtstruct_cerr_pat2": [("CT", "volume", "", "41x138x141 3.00x0.98x0.98 axial"), CONTOURS],
    f"{STS}/STS_002": [
        ("CT", "volume", "", "48x143x161 3.27x0.98x0.98 axial"),
        ("MR", "volume", "", "35x90x115 3.27x0.98x0.98 axial"),
        ("PT", "volume", "", "48x27x30 3.27x5.47x5.47 axial"),
        CONTOURS,
        CONTOURS,
        CONTOURS,
    ],
    f"{STS}/STS_003": [
        ("CT", "volume", "", "51x158x154 3.27x0.98x0.98 axial"),
        ("MR", "volume", "", "47x138x121 3.27x0.98x0.98 axial"),
        ("PT", "volume", "", "51x30x29 3.27x5.47x5.47 axial"),
        CONTOURS,
        CONTOURS,
        CONTOURS,
    ],
    "enhanced_multiframe": [
        ("MR", "volume", "", "8x256x256 1.20x1.00x1.00 sagittal no-frame-of-reference"),
        # Diffusion in one instance: b = 0 and three directions of b = 1300, each a volume.
        ("MR", "volume", "", f"{DTI} no-frame-of-reference split-by-b-value; {DIRECTION}; {DIRECTION}; {DIRECTION}"),
    ],
    "enhanced_multiframe_pydicom": [
        ("CT", "refused", "not-a-volume", ""),  # a perfusion map in colours
        ("MR", "refused", "missing-geometry", ""),
        SEGMENTATION,
        SEGMENTATION,
        SEGMENTATION,
    ],
    "mr_dicom_hippocrop": [("MR", "volume", "", "35x48x36 1.00x1.00x1.00 axial")],
    "quirks_dicom2nifti/gantrytilting_001": [("CT", "volume", "", "4x512x512 5.00x0.42x0.42 oblique gantry-tilt no-frame-of-reference")],
    "quirks_dicom2nifti/notavolume_001": [("CT", "refused", "duplicate-positions", "")],
    "quirks_dicom2nifti/slicecount_001": [("MR", "volume", "", "2x256x256 1.00x1.00x1.00 sagittal no-frame-of-reference two-slices")],
    "quirks_dicom2nifti/sliceincrement_001": [("CT", "refused", "uneven-spacing", "")],
    "quirks_dicom2nifti/sliceincrement_002": [("CT", "refused", "uneven-spacing", "")],
    "quirks_dicom2nifti/sliceorientation_001": [("MR", "refused", "mixed-geometry", "")],
    "rtstruct_ct_phantom": [("CT", "volume", "", "2x512x512 5.00x0.49x0.49 axial two-slices"), CONTOURS, CONTOURS],
    "seg_and_sr_dcmqi": [
        ("CT", "volume", "", "3x38x24 2.50x0.70x0.70 axial"),
        ("CT", "volume", "", "3x38x24 2.50x0.70x0.70 axial"),  # the same as a legacy converted multi-frame
        ("CT", "volume", "", "3x512x512 1.00x0.81x0.81 axial overlapping-slices"),
        ("RWV", "refused", "no-pixels", ""),
        ("SR", "refused", "no-pixels", ""),
        *[SEGMENTATION] * 4,
    ],
    "seg_sr_highdicom": [("CT", "volume", "", "1x128x128 5.00x0.66x0.66 axial single-slice"), *[SEGMENTATION] * 7],
    "us_multiframe": [("US", "cine", "", "")],
    "us_single": [("US", "cine", "", ""), ("US", "cine", "", ""), ("US", "cine", "", "")],
}
"""Folder -> its series, sorted."""


def row(series: InspectedSeries) -> Row:
    volumes = (
        " ".join([f"{'x'.join(map(str, v.shape_kji))} {'x'.join(f'{mm:.2f}' for mm in v.spacing_mm)} {v.plane}", *v.quirks])
        for v in series.volumes
    )
    return series.modality, series.verdict, series.code, "; ".join(volumes)


def unpacked(folder: Path, room: Path) -> list[Path]:
    """The folder, and its archives unpacked into a room of their own."""
    for archive in (path for path in sorted(folder.rglob("*")) if path.suffix in (".xz", ".zip")):
        with tarfile.open(archive) if archive.suffix == ".xz" else zipfile.ZipFile(archive) as opened:
            if isinstance(opened, tarfile.TarFile):
                opened.extractall(room, filter="data")
            else:
                opened.extractall(room)
    return [place for place in (folder, room) if any(path.is_file() and path.suffix not in (".xz", ".zip") for path in place.rglob("*"))]


@pytest.mark.parametrize("folder", VERDICTS)
def test_every_real_series_gets_the_verdict_that_a_radiology_engineer_expects(folder: str, shared_folder: Path, tmp_path: Path) -> None:
    found = [series for place in unpacked(shared_folder / "data" / folder, tmp_path) for series in inspect_folder(place)]
    assert Counter(map(row, found)) == Counter(VERDICTS[folder])
    assert all(series.reason for series in found if series.verdict == "refused")


def test_no_folder_of_dicom_is_left_out_of_the_table(shared_folder: Path) -> None:
    def holds_dicom(folder: Path) -> bool:
        return any(path.read_bytes()[128:132] == b"DICM" for path in folder.rglob("*") if path.is_file())

    folders = {path.name for path in (shared_folder / "data").iterdir() if path.is_dir() and holds_dicom(path)}
    assert folders <= {folder.split("/")[0] for folder in VERDICTS}
