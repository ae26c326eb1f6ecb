"""Labelled data to train on and to measure with: a folder of families, each a folder of cases with their outlines.

    DIR / FAMILY / case.npz                     `imgs` (D, H, W) uint8, `gts` label map; optional `spacing` (dz, dy, dx) mm and `meta` JSON
    DIR / FAMILY / NAME.nii.gz + NAME_mask...   an image and a label image (NIfTI, NRRD, MetaImage), told apart by their names or folders
    DIR / FAMILY / case.h5                      `image` and `label`, both (D, H, W)
    DIR / FAMILY / ... / *.dcm                  DICOM series with the SEG and RTSTRUCT objects that outline them

Files that lie in DIR itself form one family named after it. What is not labelled is unknown; every label value is one structure.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from daemon.annotated_series import read_annotated_series
from daemon.arrays import DEFAULT_PERCENTILES, IMAGE_SUFFIXES, RejectedArrays, read_arrays
from daemon.folds import Fold
from daemon.intensity_window import percentile_bounds
from daemon.windowing import to_frames
from model.training.volumes import LabelledVolume

Window = tuple[float, float]
Families = dict[str, list[LabelledVolume]]

SPLITS = ("train", "val", "all")
MASK_WORDS = frozenset({"label", "labels", "labelstr", "labelsts", "mask", "masks", "seg", "segmentation", "gt", "truth"})
"""A word of a file's or its folder's name that makes it the label image of a pair."""
FILLER_WORDS = MASK_WORDS | {"image", "images", "img", "manual", "0000"}
"""Words that do not tell one case from another."""
MOST_LABEL = 255


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to read, and how intensities become grey."""

    split: str = "all"
    """train, val or all; cases that carry no split belong to each."""
    marked_only: bool = False
    """Leave out the cases that carry no split."""
    window: Window | None = None
    """(low, high) for intensities that are not windowed yet; by default percentiles 0.5 to 99.5, as `medsam2d segment` takes them."""
    fold: Fold | None = None
    """Says the split of every case in place of the mark that it carries."""


def read_families(folder: Path, reading: Reading) -> Families:
    """Read every family below `folder`, in the order of names; families without a case of the split are left out.

    Raises `RejectedArrays` for data of another form than this file describes, and where there is none at all.
    """
    families = find_families(folder, reading)
    if not families:
        raise RejectedArrays(
            f"{folder}: no labelled case of split {reading.split!r}{_of_fold(reading)}; expected sub-folders with .npz (imgs, gts), "
            "image and mask pairs, .h5 (image, label) or DICOM series with segmentations"
        )
    return families


def find_families(folder: Path, reading: Reading) -> Families:
    """The same where none at all is no fault."""
    if not folder.is_dir():
        raise RejectedArrays(f"{folder}: expected a folder of labelled cases, found none")
    inside = {child.name: list(read_cases(child, reading)) for child in sorted(folder.iterdir()) if child.is_dir()}
    loose = list(read_cases(folder, reading, deep=False))
    return {name: cases for name, cases in {**inside, folder.name: loose}.items() if cases}


def read_cases(folder: Path, reading: Reading, *, deep: bool = True) -> Iterator[LabelledVolume]:
    """Read the cases of one family; with `deep` also those in folders below it. Raises `RejectedArrays`."""
    files = sorted(path for path in (folder.rglob("*") if deep else folder.iterdir()) if path.is_file())
    for path in files:
        if path.suffix == ".npz" and _is_wanted(path, reading):
            volume, split = _read_npz(path)
            if reading.fold is not None or _is_of(split, reading):
                yield volume
        elif path.suffix in (".h5", ".hdf5") and _is_wanted(path, reading, marked=False):
            yield from _read_h5(path, reading)
    if reading.marked_only and reading.fold is None:
        return
    for image, mask in pair_images(files, folder):
        if _is_wanted(image, reading, marked=False):
            yield from _read_pair(image, mask, reading)
    if deep and any(_may_be_dicom(path) for path in files):
        yield from _read_dicom(folder, reading)


def evenly_chosen(volumes: Sequence[LabelledVolume], most: int) -> list[LabelledVolume]:
    """Return at most `most` of them, evenly from first to last."""
    places = np.linspace(0, len(volumes) - 1, min(most, len(volumes))).round().astype(int)
    return [volumes[place] for place in places]


def pair_images(files: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    """Return (image, label image) of each case among NIfTI, NRRD and MetaImage files: equal names but for words such as `mask`.

    Raises `RejectedArrays` where an image lacks its labels, or two claim one image.
    """
    images: dict[tuple[str, ...], Path] = {}
    masks: dict[tuple[str, ...], Path] = {}
    for path in files:
        if not path.name.lower().endswith(IMAGE_SUFFIXES):
            continue
        words = _words(path.name.lower().split(".")[0])
        folders = [word for part in path.relative_to(folder).parent.parts for word in _words(part.lower())]
        kind = masks if MASK_WORDS & {*words, *folders} else images
        key = tuple(word for word in words if word not in FILLER_WORDS)
        if key in kind:
            raise RejectedArrays(f"{path}: expected one file for this case, found {kind[key].name} too; give them different names")
        kind[key] = path
    lonely = [path.name for key, path in (*images.items(), *masks.items()) if key not in images or key not in masks]
    if lonely:
        raise RejectedArrays(f"{folder}: expected an image and a label image of each case, got one of them: {', '.join(lonely[:5])}")
    return [(images[key], masks[key]) for key in images]


def _of_fold(reading: Reading) -> str:
    return "" if reading.fold is None else f" in fold {reading.fold} (by the first number in a case's name)"


def _is_wanted(path: Path, reading: Reading, *, marked: bool = True) -> bool:
    """Whether to open a file: by its fold where one is asked for, else unless only marked cases are and it can carry no mark."""
    if reading.fold is None:
        return marked or not reading.marked_only
    return reading.split in ("all", reading.fold.split_of(_case_of(path)))


def _is_of(split: str | None, reading: Reading) -> bool:
    return reading.split in ("all", split) or (split is None and not reading.marked_only)


def _case_of(path: Path) -> str:
    return path.name.split(".")[0]


def _read_npz(path: Path) -> tuple[LabelledVolume, str | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("imgs", "gts", "spacing", "meta") if name in archive}
        meta: dict[str, Any] = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RejectedArrays(f"{path.name}: not a readable .npz of plain arrays ({error})") from error
    if not {"imgs", "gts"} <= set(arrays):
        raise RejectedArrays(f"{path.name}: expected arrays `imgs` and `gts`, found {sorted(arrays)}")
    if arrays["imgs"].dtype != np.uint8:
        raise RejectedArrays(f"{path.name}: imgs: expected uint8, windowed, got {arrays['imgs'].dtype}")
    spacing = tuple(float(step) for step in arrays["spacing"]) if "spacing" in arrays else None
    volume = _labelled(path, arrays["imgs"], arrays["gts"], spacing, meta.get("labels"))
    return volume, meta.get("split")


def _read_h5(path: Path, reading: Reading) -> Iterator[LabelledVolume]:
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: np.asarray(file[name]) for name in ("image", "label") if name in file}
    except OSError as error:
        raise RejectedArrays(f"{path.name}: not a readable HDF5 file; is it whole? ({error})") from error
    if len(arrays) != 2:
        raise RejectedArrays(f"{path.name}: expected data sets `image` and `label`, found {sorted(arrays)}")
    voxels = arrays["image"].astype(np.float32)
    bounds = reading.window or percentile_bounds(voxels, DEFAULT_PERCENTILES, None)
    yield _labelled(path, to_frames(voxels, *bounds), arrays["label"], None, None)


def _read_pair(image: Path, mask: Path, reading: Reading) -> Iterator[LabelledVolume]:
    source = read_arrays(image, reading.window)
    labels = SimpleITK.ReadImage(str(mask))
    step = source.image.GetSpacing() if source.image is not None else (1.0, 1.0, 1.0)
    yield _labelled(image, source.frames, SimpleITK.GetArrayFromImage(labels), (step[2], step[1], step[0]), None)


def _read_dicom(folder: Path, reading: Reading) -> Iterator[LabelledVolume]:
    for volume in read_annotated_series(folder, reading.window):
        if reading.fold is not None:
            raise RejectedArrays(
                f"{folder}: expected files with a patient's number in their names for --fold, got DICOM, whose names do not tell patients "
                "apart; keep patients aside in a folder of their own (--validate-on), or write numbered .npz or NIfTI pairs"
            )
        yield volume


def _labelled(
    path: Path, frames: NDArray[np.uint8], labels: NDArray[Any], spacing: tuple[float, ...] | None, names: Mapping[str, int] | None
) -> LabelledVolume:
    """One volume whose label values are its structures; named by `names` where the file says so."""
    if frames.shape != labels.shape or frames.ndim != 3:
        raise RejectedArrays(f"{path.name}: expected image and labels of one (D, H, W) shape, got {frames.shape} and {labels.shape}")
    values = np.unique(labels)
    if values.min() < 0 or values.max() > MOST_LABEL or not np.array_equal(values, np.round(values)):
        raise RejectedArrays(f"{path.name}: expected whole label values of 0 to {MOST_LABEL}, got {values.min()} to {values.max()}")
    structures = dict(names) if names is not None else {str(int(value)): int(value) for value in values if value > 0}
    place = None if spacing is None else (spacing[0], spacing[1], spacing[2])
    return LabelledVolume(frames=frames, labels=labels.astype(np.uint8), structures=structures, spacing_mm=place, case=_case_of(path))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name) if word]


def _may_be_dicom(path: Path) -> bool:
    return path.suffix.lower() in ("", ".dcm", ".ima") and not path.name.startswith(".")
