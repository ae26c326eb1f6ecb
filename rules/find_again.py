"""Finding a small region again: after the whole map, the nearby place whose surroundings are most alike.

A map of whole volumes is good to some millimetres; a lesion of that size needs better, and must be told from tissue that only
lies where it should be.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import kji_to_lps
from dicom_io.volume import Volume
from rules.registration import Alignment, carry_mask, thinned
from rules.simple_itk import sitk
from rules.voxel_regions import Mask

RIM_MM = 15.0
"""Around a region, what is looked at to find it again: a lesion is known by its surroundings."""
SEARCH_MM = 12.0
"""How far from where the whole map puts it a region is looked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CarriedMask:
    """A mask of `moving` on the grid of `fixed`, bool (k, j, i), and how alike its surroundings are in both."""

    mask: Mask
    likeness: float
    """Normalised correlation of the grey levels in and around it, -1 to 1; -1 where nothing of it lies in `fixed`."""


def find_again(mask: Mask, moving: Volume, fixed: Volume, alignment: Alignment) -> CarriedMask:
    """Return a region of `moving`, bool (k, j, i), on the grid of `fixed`, at the shift of highest normalised correlation."""
    first = carry_mask(mask, moving, fixed, alignment)
    if not first.any():
        return CarriedMask(mask=first, likeness=-1.0)
    image = thinned(fixed)
    warped = sitk.GetArrayFromImage(sitk.Resample(thinned(moving), image, alignment.transform, sitk.sitkLinear, np.nan, sitk.sitkFloat32))
    block = _block_around(first, fixed, image)
    shift, likeness = _best_shift(sitk.GetArrayFromImage(image), warped, block, image.GetSpacing()[::-1])
    steps = np.array(shift[::-1], np.float64) * np.array(image.GetSpacing())
    moved = sitk.TranslationTransform(3, (np.array(image.GetDirection()).reshape(3, 3) @ steps).tolist())
    better = Alignment(transform=sitk.CompositeTransform([alignment.transform, moved]), similarity=alignment.similarity)
    return CarriedMask(mask=carry_mask(mask, moving, fixed, better), likeness=likeness)


def _block_around(mask: Mask, fixed: Volume, image: Any) -> tuple[slice, slice, slice]:
    """Return where the thinned image shows a region of the volume with its rim, (k, j, i)."""
    along = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    corners = itertools.product(*((int(at[0]), int(at[-1])) for at in along))
    points = kji_to_lps(fixed.affine, np.array(list(corners), np.float64))
    kji = np.array([image.TransformPhysicalPointToContinuousIndex(point.tolist())[::-1] for point in points])
    rim = RIM_MM / np.array(image.GetSpacing()[::-1])
    sizes = np.array(image.GetSize()[::-1])
    # At least one voxel: a region on a volume's edge may lie beyond the last centre of the thinned grid.
    first = np.clip(np.floor(kji.min(axis=0) - rim), 0, sizes - 1).astype(int)
    last = np.clip(np.ceil(kji.max(axis=0) + rim), 0, sizes - 1).astype(int)
    k, j, i = (slice(int(low), int(high) + 1) for low, high in zip(first, last, strict=True))
    return k, j, i


def _best_shift(
    fixed: NDArray[np.float32], warped: NDArray[np.float32], block: tuple[slice, slice, slice], spacing: tuple[float, ...]
) -> tuple[tuple[int, int, int], float]:
    """Return the shift (k, j, i) s for which warped[x + s] is most like fixed[x] over the block, the nearest of equals, and its
    correlation; shifts that leave less than half of the block inside count as unlike.
    """
    patch = fixed[block].astype(np.float64)
    reach = [int(SEARCH_MM / step) for step in spacing]
    along_k, along_j, along_i = (range(-most, most + 1) for most in reach)
    shifts = sorted(itertools.product(along_k, along_j, along_i), key=lambda shift: sum(step * step for step in shift))
    padded = np.pad(warped, [(most, most) for most in reach], constant_values=np.nan)
    best, best_likeness = (0, 0, 0), -1.0
    for shift in shifts:
        place = tuple(slice(at.start + most + by, at.stop + most + by) for at, most, by in zip(block, reach, shift, strict=True))
        likeness = _correlation(patch, padded[place].astype(np.float64))
        if likeness > best_likeness + 1e-9:
            best, best_likeness = shift, likeness
    return best, best_likeness


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    inside = np.isfinite(a) & np.isfinite(b)
    if inside.sum() * 2 < inside.size:
        return -1.0
    x, y = a[inside] - a[inside].mean(), b[inside] - b[inside].mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread > 0 else -1.0
