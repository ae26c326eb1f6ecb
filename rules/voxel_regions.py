"""Regions of voxels: connected components, opening and closing in millimetres, and the patient's body in CT.

Masks are bool (k, j, i). SimpleITK does the work; its images share our axis order when the array is (k, j, i), and
spacing enters only through radii in voxels, so no geometry is needed here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dicom_io.volume import Volume

if TYPE_CHECKING:
    import SimpleITK

Mask: TypeAlias = NDArray[np.bool_]
Labels: TypeAlias = NDArray[np.uint32]
BODY_MINIMUM_HU = -400.0
"""Half-way between air (-1000 HU) and soft tissue, well below fat (-100 HU): skin is found in spite of partial volumes."""


def component_labels(mask: Mask) -> Labels:
    """Return face-connected components numbered from 1 in the order in which a scan meets them, 0 outside; (k, j, i) uint32."""
    return np.asarray(_sitk().GetArrayFromImage(_sitk().ConnectedComponent(_image(mask))), np.uint32)


def largest_component(mask: Mask) -> Mask:
    """Return the largest face-connected component of a mask (the first met of equals); an empty mask stays empty."""
    labels = component_labels(mask)
    sizes = np.bincount(labels.ravel())
    if len(sizes) < 2:
        return np.zeros_like(mask)
    return np.asarray(labels == 1 + int(np.argmax(sizes[1:])), np.bool_)


def opened(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Return the morphological opening by a ball of `radius_mm`; `spacing_mm` is (dk, dj, di)."""
    radius = _radius(radius_mm, spacing_mm)
    return _around(mask, radius, lambda image: _sitk().BinaryMorphologicalOpening(image, radius, _sitk().sitkBall, 0.0, 1.0))


def closed(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Return the morphological closing by a ball of `radius_mm`; `spacing_mm` is (dk, dj, di)."""
    radius = _radius(radius_mm, spacing_mm)
    return _around(mask, radius, lambda image: _sitk().BinaryMorphologicalClosing(image, radius, _sitk().sitkBall, 1.0, safeBorder=True))


def widened(mask: Mask, radius_mm: float, spacing: tuple[float, float, float]) -> Mask:
    """Return the mask dilated by a ball (an ellipsoid of voxels), within the volume."""
    radius = _radius(radius_mm, spacing)
    return _around(mask, radius, lambda image: _sitk().BinaryDilate(image, radius, _sitk().sitkBall))


def body(volume: Volume) -> Mask:
    """Return the patient: the largest region above `BODY_MINIMUM_HU`, its holes filled slice by slice (CT only)."""
    mask = volume.voxels > BODY_MINIMUM_HU
    if volume.padding is not None:
        mask &= ~volume.padding
    return filled(largest_component(mask))


def filled(mask: Mask) -> Mask:
    """Return the mask with its holes filled slice by slice."""
    return np.stack([_bool(_sitk().BinaryFillhole(_image(plane))) for plane in mask])


def _radius(radius_mm: float, spacing: tuple[float, float, float]) -> list[int]:
    # SimpleITK orders a radius (i, j, k).
    return [int(radius_mm / step + 0.5) for step in reversed(spacing)]


def _around(mask: Mask, radius: list[int], operation: Callable[[SimpleITK.Image], SimpleITK.Image]) -> Mask:
    """Apply `operation` where the mask is, with a rim beyond the radius: nothing changes elsewhere, and most of a volume is elsewhere."""
    if not mask.any():
        return mask
    rims = [steps + 1 for steps in reversed(radius)]
    found = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    place = tuple(slice(max(int(at[0]) - rim, 0), int(at[-1]) + rim + 1) for at, rim in zip(found, rims, strict=True))
    result = np.zeros_like(mask)
    result[place] = _bool(operation(_image(mask[place])))
    return result


@functools.cache
def _sitk() -> Any:
    """SimpleITK, whose functions are generated and carry no types.

    Loaded when voxels are first looked at: a process that only reads rules (the listener) would carry its 44 MiB for nothing.
    """
    import SimpleITK

    return SimpleITK


def _image(mask: Mask) -> SimpleITK.Image:
    image: SimpleITK.Image = _sitk().GetImageFromArray(mask.astype(np.uint8))
    return image


def _bool(image: SimpleITK.Image) -> Mask:
    return np.asarray(_sitk().GetArrayFromImage(image) > 0, np.bool_)
