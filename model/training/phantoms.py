"""CT-like phantoms: a body with touching organs of like intensity, made from a seed by our own arithmetic.

Seeds are divided once and for all: 0..99 demonstrate and test, 100..199 validate during training, 1000 and above train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.baselines import extruded_box, threshold_in_body
from model.training.blobs import Blob, Floats, draw_blob, signed_depth

DEMO_SEEDS = range(100)
VALIDATION_SEEDS = range(100, 200)
FIRST_TRAINING_SEED = 1000

DEMO_TARGETS = ("liver", "kidney", "spleen")
TRAINING_RADII, DEMO_RADII = (0.17, 0.36), (0.25, 0.36)
"""Long radius of an organ, fraction of the half width; demonstrations leave out those only a few mask cells wide."""
CROWDED = 3
"""More organs than this are kept smaller, so that they find room."""

DEMO_BASELINE_LIMIT = 0.57
"""Dice that no baseline may exceed on a demo organ: an easier draw is discarded and the next one taken."""

PLACES_BEFORE_A_NEW_START, MOST_PLACES = 400, 8000
"""Places tried for the organs of one phantom before all are taken away again, and before it is given up."""

AIR_HU, FAT_HU, MUSCLE_HU = -1000.0, -100.0, 50.0
RIM_WIDTH = 0.02
"""Depth to which the faint rim of a tissue reaches, fraction of the half width: about two pixels of 192."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A CT-like volume with the truth of its organs."""

    voxels_hu: NDArray[np.float32]
    """(k, j, i) float32 Hounsfield units."""
    masks: dict[str, NDArray[np.bool_]]
    """Organ name -> (k, j, i) bool; organs never overlap."""
    spacing_mm: tuple[float, float, float]
    """Between slices, rows and columns."""


def require_training_seed(seed: int) -> None:
    """Raise ValueError when `seed` is reserved for demonstration, tests or validation."""
    if seed < FIRST_TRAINING_SEED:
        msg = f"expected a training seed >= {FIRST_TRAINING_SEED}, got {seed}: 0..99 demonstrate and test, 100..199 validate"
        raise ValueError(msg)


def make_phantom(seed: int, shape: tuple[int, int, int] = (32, 192, 192), names: Sequence[str] | None = None) -> Phantom:
    """The phantom of `seed`: `shape` is (slices, rows, columns); `names` fixes how many organs there are (default 3 to 5)."""
    rng = np.random.default_rng([seed, 20])
    if names is None:
        names = [f"organ_{n}" for n in range(1, int(rng.integers(3, 6)) + 1)]
    return _compose(rng, shape, names, TRAINING_RADII)


def demo_phantom(seed: int, shape: tuple[int, int, int] = (32, 192, 192)) -> Phantom:
    """A phantom with the organs `liver`, `kidney` and `spleen` on which the extruded box and the threshold both fail."""
    for attempt in range(200):
        rng = np.random.default_rng([seed, attempt, 21])
        phantom = _compose(rng, shape, DEMO_TARGETS, DEMO_RADII)
        if all(_is_hard(phantom, mask) for mask in phantom.masks.values()):
            return phantom
    msg = f"expected a hard phantom of shape {shape} for seed {seed} within 200 draws, got none: use a larger in-plane size"
    raise ValueError(msg)


def prompt_frame(mask: NDArray[np.bool_]) -> int:
    """The slice k on which a mask (k, j, i) has its largest area: where a reader would draw the box."""
    return int(np.argmax(mask.sum(axis=(1, 2))))


def _is_hard(phantom: Phantom, mask: NDArray[np.bool_]) -> bool:
    frame = prompt_frame(mask)
    guesses = (extruded_box(mask, frame), threshold_in_body(phantom.voxels_hu, mask, frame))
    return all(2 * (mask & guess).sum() <= DEMO_BASELINE_LIMIT * (mask.sum() + guess.sum()) for guess in guesses)


@dataclass(frozen=True, kw_only=True)
class _Tissue:
    blob: Blob
    hu: float


def _compose(rng: np.random.Generator, shape: tuple[int, int, int], names: Sequence[str], radii: tuple[float, float]) -> Phantom:
    organs, depths = _place_organs(rng, shape, len(names), radii)
    voxels, interior = _body(rng, shape)
    pixel = 2.0 / min(shape[1:])
    rim_hu = rng.uniform(-160, -80)
    for distractor in _distractors(rng, organs):
        _paint(voxels, np.minimum(signed_depth(distractor.blob, shape), interior), distractor.hu, rim_hu, pixel)
    masks: dict[str, NDArray[np.bool_]] = {}
    taken = np.zeros(shape, dtype=bool)
    for name, organ, depth in zip(names, organs, depths, strict=True):
        own = np.where(taken, np.float32(-2.0), np.minimum(depth, interior))
        _paint(voxels, own, organ.hu, rim_hu, pixel)
        masks[name] = own > 0
        taken |= masks[name]
    height_mm = float(rng.uniform(2.5, 3.0))
    field_mm = float(rng.uniform(320, 400))
    voxels = _acquire(rng, voxels)
    return Phantom(voxels_hu=voxels, masks=masks, spacing_mm=(height_mm, field_mm / shape[1], field_mm / shape[2]))


def _place_organs(
    rng: np.random.Generator, shape: tuple[int, int, int], count: int, radii: tuple[float, float]
) -> tuple[list[_Tissue], list[Floats]]:
    """Organs of near-equal intensity at places where each keeps nearly all of its volume outside the earlier ones."""
    group_hu = MUSCLE_HU + rng.choice([-1.0, 1.0]) * rng.uniform(40, 85)
    smallest, largest = radii
    if count > CROWDED:
        largest = min(largest, 0.30)
    organs: list[_Tissue] = []
    depths: list[Floats] = []
    taken = np.zeros(shape, dtype=bool)
    for attempt in range(1, MOST_PLACES + 1):
        if len(organs) == count:
            break
        if attempt % PLACES_BEFORE_A_NEW_START == 0:  # the first organs may leave no room for the last
            organs, depths, taken = [], [], np.zeros(shape, dtype=bool)
        blob = draw_blob(rng, major=(smallest, largest), half_height=(0.45, 0.8))
        angle, distance = rng.uniform(0, 2 * np.pi), 0.6 * np.sqrt(rng.uniform(0, 1))
        blob = blob.moved(x=distance * np.cos(angle) * 0.95, y=distance * np.sin(angle) * 0.8)
        depth = signed_depth(blob, shape)
        inside = depth > 0
        if (inside & taken).sum() <= 0.03 * inside.sum():
            organs.append(_Tissue(blob=blob, hu=group_hu + rng.normal(0, 9)))
            depths.append(depth)
            taken |= inside
        else:
            largest = max(smallest + 0.03, largest - 0.005)
    if len(organs) < count:
        msg = f"expected room for {count} organs in {shape} within {MOST_PLACES} places, found {len(organs)}: ask for fewer or smaller ones"
        raise ValueError(msg)
    return organs, depths


def _distractors(rng: np.random.Generator, organs: Sequence[_Tissue]) -> list[_Tissue]:
    """Unlabelled neighbours of like intensity beside each organ, touching it or a few pixels away, and a few bright vessels and bones."""
    distractors: list[_Tissue] = []
    for organ in organs:
        for _ in range(int(rng.integers(1, 4))):
            direction = rng.uniform(0, 2 * np.pi)
            blob = draw_blob(rng, major=(0.12, 0.28), half_height=(0.4, 1.2))
            distance = (organ.blob.reach(direction) + blob.reach(direction)) * rng.uniform(0.9, 1.25)
            blob = blob.moved(x=organ.blob.x + distance * np.cos(direction), y=organ.blob.y + distance * np.sin(direction))
            distractors.append(_Tissue(blob=blob, hu=organ.hu + rng.normal(0, 8)))
    for hu, radius, count in ((500.0, (0.10, 0.16), 1), (350.0, (0.04, 0.06), 4), (180.0, (0.045, 0.08), 3)):
        for _ in range(count):
            angle = rng.uniform(0, 2 * np.pi)
            blob = draw_blob(rng, major=radius, half_height=(1.0, 2.5))
            blob = blob.moved(x=0.75 * np.cos(angle), y=0.6 * np.sin(angle))
            distractors.append(_Tissue(blob=blob, hu=hu + rng.normal(0, 50)))
    return distractors


def _body(rng: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Floats, Floats]:
    """(background, interior): air, a rim of fat, muscle and marbling in HU, and the depth under that rim; both (k, j, i) float32."""
    slices, rows, columns = shape
    y = np.linspace(-1, 1, rows, dtype=np.float32)[None, :, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, None, :]
    width, depth = rng.uniform(0.88, 0.97), rng.uniform(0.74, 0.9)
    growth = 1.0 + rng.uniform(-0.08, 0.08) * np.linspace(-1, 1, slices, dtype=np.float32)[:, None, None]
    radius = (np.abs(x / (width * growth)) ** 2.4 + np.abs(y / (depth * growth)) ** 2.4) ** (1 / 2.4)
    rim = rng.uniform(0.03, 0.10)
    marbling = smooth_noise(rng, shape, smoothness=rng.uniform(0.05, 0.1))
    inner = np.where(marbling > rng.uniform(0.3, 1.5), FAT_HU, MUSCLE_HU + 12 * marbling)
    voxels = np.where(radius < 1.0, np.where(radius < 1.0 - rim, inner, FAT_HU), AIR_HU)
    return voxels.astype(np.float32), (1.0 - rim - radius).astype(np.float32)


def _paint(voxels: Floats, depth: Floats, hu: float, rim_hu: float, pixel: float) -> None:
    """Paint one tissue in place: partial volume over one pixel at its edge, and a faint rim that parts it from its neighbours."""
    share = np.clip(depth / pixel + 0.5, 0.0, 1.0)
    rim = np.where(share > 0, rim_hu * np.exp(-np.square(depth / RIM_WIDTH)), 0.0)
    voxels += share * (hu - voxels) + share * rim


def _acquire(rng: np.random.Generator, voxels: Floats) -> Floats:
    """What a scanner adds: blur of partial volume, slow inhomogeneity, grainy noise."""
    blurred = _gaussian(voxels, (rng.uniform(0.2, 0.5), *([rng.uniform(0.4, 0.8)] * 2)))
    shading = rng.uniform(3, 10) * smooth_noise(rng, voxels.shape, smoothness=0.3)
    grain = _gaussian(rng.standard_normal(voxels.shape, dtype=np.float32), (0.3, *([rng.uniform(0.3, 0.8)] * 2)))
    noise = grain * (rng.uniform(8, 20) / float(grain.std()))
    return np.asarray(np.maximum(blurred + np.where(blurred > -500, shading, 0) + noise, -1024.0), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], *, smoothness: float) -> Floats:
    """Unit-variance noise without detail finer than about `smoothness` of the in-plane width, (k, j, i) float32."""
    sigma = (smoothness * shape[0] + 0.5, smoothness * shape[1], smoothness * shape[2])
    field = _gaussian(rng.standard_normal(shape, dtype=np.float32), sigma)
    return np.asarray((field - field.mean()) / (field.std() + 1e-9), dtype=np.float32)


def _gaussian(field: Floats, sigma: Sequence[float]) -> Floats:
    """Gaussian blur by the Fourier transform (periodic), sigma in voxels along (k, j, i)."""
    spectrum = np.fft.rfftn(field)
    frequencies = (np.fft.fftfreq(field.shape[0]), np.fft.fftfreq(field.shape[1]), np.fft.rfftfreq(field.shape[2]))
    for axis, (width, frequency) in enumerate(zip(sigma, frequencies, strict=True)):
        gain = np.exp(-2.0 * np.square(np.pi * width * frequency))
        spectrum *= gain.reshape([-1 if n == axis else 1 for n in range(3)])
    return np.fft.irfftn(spectrum, s=field.shape, axes=(0, 1, 2)).astype(np.float32)
