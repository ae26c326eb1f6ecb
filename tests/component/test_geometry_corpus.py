"""Whoever opens our segmentations finds the marker on the same pixels of the same images, at the same millimetres.

Three readers that share no code with each other: dcmqi (3D Slicer's), OHIF's own loader, and plain pydicom with the
arithmetic below. Where one of them is known not to take a legal object, `SLICER_SEES` says what it does instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from dicom_io.geometry import kji_to_lps
from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.segmentation_types import SegmentationForm
from tests.component.geometry_corpus import CASES, Case, Frame
from tests.e2e.readers import dcentvfy_errors, dciodvfy_errors, dcmqi_masks, on_grid
from tests.unit.dicom_io.results import IDENTITY, KIDNEY

REPOSITORY = Path(__file__).resolve().parents[2]
TOLERANCE_MM = 1e-3
LABELMAPS = ("rows+x columns+y", "rows-y columns+z against", "oblique", "tilt", "gap", "enhanced")
"""Cases that are also written as label maps; the frames are the same, so not all need to be."""

SLICER_SEES: Mapping[str, Literal["sheared", "nothing"]] = {"tilt": "sheared", "tilt back": "nothing"}
"""Case -> what dcmqi, and so 3D Slicer, makes of it: it has no word for shear, and drops it, or the object where frames then
lie outside of the image that it lays out. All other cases are exact. The same table stands in docs/results.md."""
EVENED_MM = {"jitter": 0.02}
"""Case -> how far dcmqi's even grid lies from positions that are not quite even."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("corpus")
    return {name: make(name, folder / str(number)) for number, (name, make) in enumerate(CASES.items())}


@pytest.fixture(scope="module")
def written(corpus: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, SegmentationForm], Path]:
    """Every case's segmentation, checked, on disk."""
    folder = tmp_path_factory.mktemp("written")
    paths: dict[tuple[str, SegmentationForm], Path] = {}
    for name, case in corpus.items():
        for form in SegmentationForm:
            if form is SegmentationForm.BINARY or name in LABELMAPS:
                part10 = write_segmentation(case.volume, case.masks, [KIDNEY], IDENTITY, form=form)
                check_segmentation(part10, case.volume, case.masks, [KIDNEY])
                paths[name, form] = folder / f"{len(paths)}.dcm"
                paths[name, form].write_bytes(part10)
    return paths


@pytest.fixture(scope="module")
def ohif(
    corpus: dict[str, Case], written: dict[tuple[str, SegmentationForm], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, SegmentationForm], Any]:
    """What OHIF's loader says of every object, in one process of node."""
    shared = Path(os.environ.get("MEDSAM2D_TEST_DATA", REPOSITORY.parent / "shared"))
    reader, packages, node = shared / "tools" / "ohif_seg_voxels.mjs", REPOSITORY / ".node" / "node_modules", shutil.which("node")
    if node is None or not packages.is_dir() or not reader.is_file():
        pytest.skip(f"OHIF's loader needs node, the packages that .ci/run installs into {packages}, and {reader}")
    # Packages are looked for beside a module: links put the reader, which lies elsewhere, beside them.
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(packages)
    (folder / "reader.mjs").symlink_to(reader)
    (folder / "many.mjs").symlink_to(REPOSITORY / "tests" / "tools" / "ohif" / "read_many.mjs")
    command = [node, "--preserve-symlinks", "--preserve-symlinks-main", str(folder / "many.mjs"), str(folder / "reader.mjs")]
    pairs = json.dumps([[str(corpus[name].folder), str(path)] for (name, _), path in written.items()])
    output = folder / "lines"
    environment = {**os.environ, "OUTPUT": str(output)}
    done = subprocess.run(command, input=pairs, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(written, map(json.loads, output.read_text().splitlines()), strict=True))


def test_the_corpus_has_all_48_permutations_and_flips(corpus: dict[str, Case]) -> None:
    turned = [case.volume.affine for name, case in corpus.items() if name.startswith("rows")]
    orientations = {tuple(np.sign(affine[:3, 1:3]).ravel()) for affine in turned}
    assert (len(turned), len(orientations)) == (48, 24)


@pytest.mark.parametrize("name", CASES)
def test_plain_pydicom_finds_the_marker_on_its_pixels_and_at_its_millimetres(
    name: str, corpus: dict[str, Case], written: dict[tuple[str, SegmentationForm], Path]
) -> None:
    case = corpus[name]
    found: dict[Frame, NDArray[np.bool_]] = {}
    places = _source_places(case)
    dataset = pydicom.dcmread(written[name, SegmentationForm.BINARY])
    shared = dataset.SharedFunctionalGroupsSequence[0]
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    area = dataset.Rows * dataset.Columns
    for index, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        key = (str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1)))
        mask = bits[index * area : (index + 1) * area].astype(np.bool_).reshape(dataset.Rows, dataset.Columns)
        rows, columns = np.nonzero(mask)
        cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, np.float64)
        spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, np.float64)
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        points = corner + np.outer(columns * spacing[1], cosines[:3]) + np.outer(rows * spacing[0], cosines[3:])
        np.testing.assert_allclose(points, places[key](rows, columns), atol=TOLERANCE_MM)
        assert key not in found
        found[key] = mask
    _expect_marker(found, case)


@pytest.mark.parametrize("form", SegmentationForm)
def test_ohif_paints_the_marker_on_the_same_pixels_of_the_same_images(
    form: SegmentationForm, corpus: dict[str, Case], ohif: dict[tuple[str, SegmentationForm], Any]
) -> None:
    wrong = {}
    for (name, written_as), said in ohif.items():
        if written_as is not form:
            continue
        assert said["ok"], (name, said)
        case = corpus[name]
        found = {}
        for frame in said["frames"]:
            assert set(frame["labels"]) == {"1"}
            mask = np.zeros(case.volume.voxels.shape[1:], np.bool_)
            mask[tuple(np.array(frame["labels"]["1"]["voxels"]).T)] = True
            found[frame["sop"], frame["frame"]] = mask
        if not _same(found, case):
            wrong[name] = sorted(key for key in {*found, *case.marked})
    assert wrong == {}


@pytest.mark.parametrize("name", CASES)
def test_slicer_finds_the_marker_at_its_millimetres(
    name: str, corpus: dict[str, Case], written: dict[tuple[str, SegmentationForm], Path], tmp_path: Path
) -> None:
    case = corpus[name]
    shape = (case.volume.voxels.shape[0], case.volume.voxels.shape[1], case.volume.voxels.shape[2])
    for form in SegmentationForm:
        if (name, form) not in written:
            continue
        scratch = tmp_path / form.value
        scratch.mkdir()
        placed = dcmqi_masks(written[name, form], scratch)
        if SLICER_SEES.get(name) == "nothing":
            assert placed == {}
        elif SLICER_SEES.get(name) == "sheared":
            # Should it ever carry the shear, the table is out of date.
            meant = kji_to_lps(case.volume.affine, np.argwhere(case.masks[0]).astype(np.float64))
            got = kji_to_lps(placed[1].affine, np.argwhere(placed[1].mask).astype(np.float64))
            assert np.abs(meant.mean(axis=0) - got.mean(axis=0)).max() > 0.5
        else:
            (found,) = placed.values()
            on_our_grid = on_grid(found, case.volume.affine, shape, EVENED_MM.get(name, TOLERANCE_MM))
            np.testing.assert_array_equal(on_our_grid, case.masks[0])


def test_validators_find_no_error_in_any_of_them(corpus: dict[str, Case], written: dict[tuple[str, SegmentationForm], Path]) -> None:
    """Label maps are younger than dicom3tools, which knows no such object."""
    errors = {name: dciodvfy_errors(path) for (name, form), path in written.items() if form is SegmentationForm.BINARY}
    errors |= {
        f"{name} beside its source": dcentvfy_errors([*corpus[name].files, path])
        for (name, form), path in written.items()
        if form is SegmentationForm.BINARY
    }
    assert {name: lines for name, lines in errors.items() if lines} == {}


def _source_places(case: Case) -> Mapping[Frame, Any]:
    """Frame -> function from rows and columns to LPS millimetres, by the source file's own attributes (PS3.3 C.7.6.2.1.1)."""
    places = {}
    for path in case.files:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        for number in range(1, int(dataset.get("NumberOfFrames", 1)) + 1):
            holder: pydicom.Dataset = dataset
            if "PerFrameFunctionalGroupsSequence" in dataset:
                own, shared = dataset.PerFrameFunctionalGroupsSequence[number - 1], dataset.SharedFunctionalGroupsSequence[0]
                holder = pydicom.Dataset()
                holder.ImagePositionPatient = own.PlanePositionSequence[0].ImagePositionPatient
                holder.ImageOrientationPatient = own.PlaneOrientationSequence[0].ImageOrientationPatient
                holder.PixelSpacing = shared.PixelMeasuresSequence[0].PixelSpacing
            corner, cosines, spacing = (
                np.array(holder[keyword].value, np.float64)
                for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
            )
            places[str(dataset.SOPInstanceUID), number] = lambda rows, columns, corner=corner, cosines=cosines, spacing=spacing: (
                corner + np.outer(columns, cosines[:3]) * spacing[1] + np.outer(rows, cosines[3:]) * spacing[0]
            )
    return places


def _expect_marker(found: Mapping[Frame, NDArray[np.bool_]], case: Case) -> None:
    assert sorted(found) == sorted(case.marked)
    for key, mask in case.marked.items():
        np.testing.assert_array_equal(found[key], mask)


def _same(found: Mapping[Frame, NDArray[np.bool_]], case: Case) -> bool:
    return set(found) == set(case.marked) and all(np.array_equal(found[key], mask) for key, mask in case.marked.items())
