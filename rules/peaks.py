"""Regions around peaks: what hangs together above a share of a peak's own value, as PET lesions are delineated at 41 % (Boellaard 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rules.simple_itk import sitk
from rules.voxel_regions import Labels, Mask

MOST_PEAKS = 200
"""A volume with more peaks than this is noise, or its least peak is set too low."""


def peak_regions(voxels: NDArray[np.float32], candidates: Mask, share: float) -> Labels:
    """Return the regions of peaks among `candidates`, numbered from 1 from the highest peak down, 0 outside; (k, j, i) uint32.

    A region is face-connected and may reach beyond the candidates, into all voxels of at least `share` times its peak. A lower
    peak whose region runs into that of a higher one is the higher one's shoulder and gets none.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels, np.float32))
    levels = np.where(candidates, voxels, -np.inf)
    labels = np.zeros(voxels.shape, np.uint32)
    number = 0
    for _ in range(MOST_PEAKS):
        at = np.unravel_index(int(np.argmax(levels)), levels.shape)
        peak = float(levels[at])
        if not np.isfinite(peak) or peak <= 0:
            break
        seed = [int(index) for index in reversed(at)]  # SimpleITK orders (i, j, k)
        grown = sitk.ConnectedThreshold(image, seedList=[seed], lower=share * peak, upper=float(np.finfo(np.float32).max))
        region = sitk.GetArrayFromImage(grown) > 0
        levels[region] = -np.inf
        if not labels[region].any():
            number += 1
            labels[region] = number
    return labels
