"""Landmarks: regions that any body shows without a model, as anchors for prompts: the body, the lungs, bone, air inside.

Regions are found on a grid thinned in the plane to about `COARSE_MM`, since a prompt needs millimetres, not pixels; a region's
mask is bool (k, j, i) on that grid, and `Region.to_volume` tells where it lies on the volume's own. Lungs, bone and air are
told by Hounsfield units and are for CT; the body is found in any modality (CT: above -400 HU, else above Otsu's threshold).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import kji_to_lps
from dicom_io.volume import Volume
from rules.simple_itk import sitk
from rules.voxel_regions import BODY_MINIMUM_HU, Mask, component_labels, filled, largest_component

RegionName: TypeAlias = Literal["body", "lungs", "left-lung", "right-lung", "bone", "air"]
COARSE_MM = 2.0
AIR_HU = -400.0
BONE_HU = 250.0
OUTSIDE_CT_HU = -500.0
"""A volume whose voxels go below this is in Hounsfield units: no other modality's rescaled values do."""
MINIMUM_LUNG_ML = 150.0
"""One lung; less is bowel gas, an effusion, or a field of view that ends in the chest's tip."""
MINIMUM_LUNG_SECTION_MM2 = 800.0
"""A connected section in one slice; the trachea's and the main bronchi's are smaller (about 300 mm2)."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A landmark on a grid thinned in the plane by `stride` (rows and columns alike)."""

    mask: Mask
    stride: int

    def to_volume(self, volume: Volume) -> Mask:
        """Return the region on the volume's own grid, bool (k, j, i)."""
        _, rows, columns = volume.voxels.shape
        wide = np.repeat(np.repeat(self.mask, self.stride, axis=1), self.stride, axis=2)
        return wide[:, :rows, :columns]


def find_region(name: RegionName, volume: Volume) -> Region | None:
    """Return a landmark of the volume, or None where there is none worth the name."""
    row_mm, column_mm = volume.spacing_mm[1:]
    stride = max(1, int(COARSE_MM / min(row_mm, column_mm)))
    thinned = _Thinned(
        voxels=volume.voxels[:, ::stride, ::stride],
        padding=None if volume.padding is None else volume.padding[:, ::stride, ::stride],
        affine=volume.affine,
        voxel_mm3=float(np.prod(volume.spacing_mm)) * stride**2,
        pixel_mm2=row_mm * column_mm * stride**2,
        stride=stride,
    )
    mask = FINDERS[name](thinned)
    return Region(mask=mask, stride=stride) if mask.any() else None


@dataclass(frozen=True, kw_only=True)
class _Thinned:
    voxels: NDArray[np.float32]
    padding: Mask | None
    affine: NDArray[np.float64]
    voxel_mm3: float
    pixel_mm2: float
    stride: int

    @property
    def is_ct(self) -> bool:
        return bool(self.voxels.min() < OUTSIDE_CT_HU)


def _body(volume: _Thinned) -> Mask:
    threshold = BODY_MINIMUM_HU if volume.is_ct else _otsu(volume.voxels)
    mask = volume.voxels > threshold
    if volume.padding is not None:
        mask &= ~volume.padding
    return filled(largest_component(mask))


def _lungs(volume: _Thinned, side: Literal["left", "right"] | None = None) -> Mask:
    if not volume.is_ct:
        return np.zeros(volume.voxels.shape, np.bool_)
    inside = _body(volume)
    air = inside & (volume.voxels < AIR_HU)
    sides = _left_of_midline(inside, volume)
    lungs = np.zeros_like(air)
    for wanted, half in (("left", sides), ("right", ~sides)):
        if side in (None, wanted):
            lungs |= _one_lung(air & half, volume)
    return lungs


def _one_lung(air: Mask, volume: _Thinned) -> Mask:
    """Keep the sections that are large enough for a lung, if together they hold as much as one and hang together."""
    sections = np.stack([_large_sections(plane, volume.pixel_mm2) for plane in air])
    lung = largest_component(sections)
    return lung if np.count_nonzero(lung) * volume.voxel_mm3 / 1000.0 >= MINIMUM_LUNG_ML else np.zeros_like(lung)


def _large_sections(plane: NDArray[np.bool_], pixel_mm2: float) -> NDArray[np.bool_]:
    labels = component_labels(plane[np.newaxis])[0]
    areas = np.bincount(labels.ravel()) * pixel_mm2
    areas[0] = 0.0
    return np.asarray((areas >= MINIMUM_LUNG_SECTION_MM2)[labels], np.bool_)


def _left_of_midline(inside: Mask, volume: _Thinned) -> Mask:
    """Return where the patient's left half lies: beyond the middle of the body's extent along x of LPS (left is positive)."""
    occupied = np.argwhere(inside)
    if not len(occupied):
        return np.zeros_like(inside)
    scale = np.array([1, volume.stride, volume.stride])
    corners = np.array([occupied.min(axis=0), occupied.max(axis=0)]) * scale
    middle = float(kji_to_lps(volume.affine, corners)[:, 0].mean())
    k, j, i = (np.arange(size) * step for size, step in zip(inside.shape, scale, strict=True))
    x = volume.affine[0, 0] * k[:, None, None] + volume.affine[0, 1] * j[None, :, None] + volume.affine[0, 2] * i[None, None, :]
    return np.asarray(x + volume.affine[0, 3] > middle, np.bool_)


def _bone(volume: _Thinned) -> Mask:
    if not volume.is_ct:
        return np.zeros(volume.voxels.shape, np.bool_)
    return largest_component(_body(volume) & (volume.voxels > BONE_HU))


def _air(volume: _Thinned) -> Mask:
    if not volume.is_ct:
        return np.zeros(volume.voxels.shape, np.bool_)
    return largest_component(_body(volume) & (volume.voxels < AIR_HU))


def _otsu(voxels: NDArray[np.float32]) -> float:
    """Return the threshold that parts the grey levels best in two (Otsu 1979)."""
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(voxels))
    return float(otsu.GetThreshold())


FINDERS: Mapping[RegionName, Callable[[_Thinned], Mask]] = {
    "body": _body,
    "lungs": _lungs,
    "left-lung": lambda volume: _lungs(volume, "left"),
    "right-lung": lambda volume: _lungs(volume, "right"),
    "bone": _bone,
    "air": _air,
}
"""How each landmark is found."""
