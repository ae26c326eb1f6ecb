"""A made-up trunk with organs and a lesion, and the same trunk another day: breathed, turned and on another grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import kji_to_lps
from dicom_io.volume import Volume
from rules.registration import Alignment, align
from rules.voxel_regions import Mask
from tests.unit.rules.examples import volume

Float64 = NDArray[np.float64]

# name -> (centre, half axes) in millimetres of the trunk's own space, and grey level
ORGANS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "liver": ((-55.0, -15.0, 20.0), (55.0, 50.0, 45.0), 110.0),
    "spleen": ((75.0, 35.0, 30.0), (25.0, 20.0, 35.0), 140.0),
    "left kidney": ((50.0, 45.0, -35.0), (18.0, 20.0, 35.0), 190.0),
    "right kidney": ((-55.0, 50.0, -45.0), (18.0, 20.0, 35.0), 190.0),
    "aorta": ((5.0, 40.0, 0.0), (10.0, 10.0, 200.0), 250.0),
    "spine": ((0.0, 75.0, 0.0), (22.0, 18.0, 200.0), 400.0),
    "stomach": ((50.0, -25.0, 35.0), (28.0, 25.0, 25.0), 10.0),
    "lesion": ((-60.0, -20.0, 25.0), (12.0, 11.0, 13.0), 20.0),
}


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A volume of the trunk and the masks of its organs."""

    volume: Volume
    masks: Mapping[str, Mask]


def trunk(*, breath_mm: float = 0.0, turn_degrees: float = 0.0, shift_mm: float = 0.0, growth: float = 1.0, coarse: bool = False) -> Trunk:
    """The trunk in about 100,000 voxels; `breath_mm` moves the upper organs down and out, `growth` widens the lesion."""
    step, pixel = (5.0, 4.5) if coarse else (6.0, 4.0)
    shape = (round(200 / step), round(240 / pixel), round(320 / pixel))
    affine = np.array([[0, 0, pixel, -160 + shift_mm], [0, pixel, 0, -120 - shift_mm], [step, 0, 0, -100], [0, 0, 0, 1]], np.float64)
    own = _moved(kji_to_lps(affine, np.moveaxis(np.indices(shape, np.float64), 0, -1)), breath_mm, turn_degrees)
    voxels = np.where(_inside(own, (0.0, 0.0, 0.0), (140.0, 100.0, 1000.0)), 40.0, -200.0)
    masks = {}
    for name, (centre, axes, level) in ORGANS.items():
        half = tuple(axis * growth for axis in axes) if name == "lesion" else axes
        masks[name] = _inside(own, centre, (half[0], half[1], half[2]))
        voxels[masks[name]] = level
    # Vessels and marbling move with the tissue; noise does not.
    voxels += 12 * np.sin(own[..., 0] / 9) * np.sin(own[..., 1] / 11) * np.sin(own[..., 2] / 13)
    voxels += np.random.default_rng(len(masks) + round(breath_mm)).normal(0, 8, shape)
    return Trunk(volume=volume(voxels.astype(np.float32), affine), masks=masks)


def _moved(points: Float64, breath_mm: float, turn_degrees: float) -> Float64:
    """Return where in the trunk's own space (x, y, z) of the patient lies: turned about z, then drawn up by the breath."""
    angle = np.radians(turn_degrees)
    turned = points @ np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    x, y, z = np.moveaxis(turned, -1, 0)
    depth = breath_mm * np.exp(-(((z - 20) / 70) ** 2)) * np.exp(-(((y + 20) / 70) ** 2))
    return np.stack([x + 0.3 * depth * np.sign(x) * np.minimum(np.abs(x) / 40, 1), y + 0.4 * depth, z + depth], axis=-1)


def _inside(points: Float64, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Mask:
    return np.asarray((((points - centre) / axes) ** 2).sum(axis=-1) <= 1.0, np.bool_)


@lru_cache(maxsize=1)
def then() -> Trunk:
    """The trunk on the first day."""
    return trunk()


@lru_cache(maxsize=1)
def now() -> Trunk:
    """Months later: breathed in by 14 mm, turned by 5 degrees, 30 mm off on the table, a lesion that has grown, another grid."""
    return trunk(breath_mm=14, turn_degrees=5, shift_mm=30, growth=1.2, coarse=True)


@lru_cache(maxsize=1)
def bent() -> Alignment:
    """The map from now to then: one registration for all tests of the pair."""
    return align(now().volume, then().volume)
