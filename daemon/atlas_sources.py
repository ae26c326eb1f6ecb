"""What an atlas is built from: a DICOM folder with contours or segments, an image with a label image, or an `.npz` of both.

Each gives a volume and its regions by name: an ROI's or segment's label, or a value of the label image.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from daemon.annotation_objects import is_annotation_object
from daemon.arrays import IMAGE_SUFFIXES
from daemon.errors import ConfigError
from dicom_io.annotations.collect import read_annotations
from dicom_io.annotations.placement import masks_on
from dicom_io.codes import Code
from dicom_io.instance import InstanceHeader
from dicom_io.series import find_instances, group_by_series, judge_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume
from rules.atlas import atlas_volume
from rules.errors import InvalidAtlas
from rules.voxel_regions import Mask

sitk: Any = SimpleITK  # generated functions without types


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A mask bool (k, j, i), with the code where the source states one."""

    mask: Mask
    type: Code | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class AtlasSource:
    """A volume and its regions by name."""

    volume: Volume
    regions: Mapping[str, Region]
    modality: str


def read_source(path: Path, labels: Path | None) -> AtlasSource:
    """Read what an atlas is built from; `labels` is the label image of a NIfTI or NRRD image.

    Raises ConfigError, InvalidAtlas, or `dicom_io.errors.RejectedInput` for DICOM that is no regular volume.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        if labels is None:
            raise ConfigError(f"{path.name}: give --labels FILE, the label image of the same grid")
        return _of_images(path, labels)
    return _of_arrays(path) if path.suffix == ".npz" else _of_dicom(path)


def _of_images(path: Path, labels: Path) -> AtlasSource:
    image, given = (_image(file) for file in (path, labels))
    same = image.GetSize() == given.GetSize() and np.allclose(_affine(image), _affine(given), atol=1e-2)
    if not same:
        raise InvalidAtlas(f"{labels.name}: expected the grid of {path.name} {image.GetSize()}, got {given.GetSize()} or another place")
    voxels = np.asarray(sitk.GetArrayFromImage(image), np.float32)
    return AtlasSource(volume=atlas_volume(voxels, _affine(image)), regions=_by_value(sitk.GetArrayFromImage(given)), modality="")


def _image(path: Path) -> Any:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InvalidAtlas(f"{path.name}: not a readable NIfTI or NRRD image; is the file whole?") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidAtlas(f"{path.name}: expected 3 dimensions and one value a voxel, got {image.GetDimension()} dimensions")
    return image


def _affine(image: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    # SimpleITK's axes are (i, j, k), and its world is LPS, whatever the file's own is.
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine


def _of_arrays(path: Path) -> AtlasSource:
    """An `.npz` with `imgs` and `gts` (k, j, i), `spacing` (dk, dj, di) and names in `meta`; slices from below, patient supine."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            voxels, labels, spacing = archive["imgs"], archive["gts"], [float(step) for step in archive["spacing"]]
            meta = json.loads(str(archive["meta"])) if "meta" in archive else {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidAtlas(f"{path.name}: expected arrays imgs and gts (k, j, i) and spacing (dk, dj, di) in an .npz") from error
    if voxels.ndim != 3 or voxels.shape != labels.shape or len(spacing) != 3 or min(spacing) <= 0:
        raise InvalidAtlas(f"{path.name}: expected imgs and gts of one shape and three spacings, got {voxels.shape} and {labels.shape}")
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing)[::-1]
    names = {int(value): str(name) for name, value in meta.get("labels", {}).items()}
    regions = {names.get(int(value), value): region for value, region in _by_value(labels).items()}
    return AtlasSource(volume=atlas_volume(voxels.astype(np.float32), affine), regions=regions, modality=str(meta.get("modality", "")))


def _by_value(labels: NDArray[Any]) -> dict[str, Region]:
    return {str(int(value)): Region(mask=np.asarray(labels == value, np.bool_)) for value in np.unique(labels) if value != 0}


def _of_dicom(path: Path) -> AtlasSource:
    headers = find_instances(path)
    objects = [header for header in headers if is_annotation_object(header)]
    images = [header for header in headers if not is_annotation_object(header)]
    series, volume = _only_series(path, images)
    found: dict[str, Region] = {}
    for annotation, mask in masks_on(read_annotations(objects, images).found, volume):
        if annotation.label in found:
            raise InvalidAtlas(f"{path}: expected a different label for each region, got one twice; keep one annotation object")
        found[annotation.label] = Region(mask=mask, type=annotation.concept)
    # What a person typed into a header stays there: voxels and geometry are taken alone.
    return AtlasSource(volume=atlas_volume(volume.voxels, volume.affine), regions=found, modality=series[0].modality)


def _only_series(path: Path, images: Sequence[InstanceHeader]) -> tuple[tuple[InstanceHeader, ...], Volume]:
    groups = group_by_series(images)
    if len(groups) != 1:
        raise InvalidAtlas(f"{path}: expected one image series with its contours or segments, got {len(groups)} series")
    (series,) = groups.values()
    return series, read_volume(judge_series(series))
