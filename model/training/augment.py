"""Augmentation: how one clip is bent, resampled and recoloured, the same way on all of its slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float32]

ELASTIC_KNOTS = 5
"""Knots a side of the elastic field: bends, not ripples."""


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A map of pixel positions about a centre: virtual = matrix @ (source - centre) + centre."""

    matrix: NDArray[np.float64]
    """(2, 2) on (x, y)."""
    centre: NDArray[np.float64]
    """(2,) pixel indices (x, y)."""

    def forward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Source positions (..., 2) -> virtual ones."""
        return (points - self.centre) @ self.matrix.T + self.centre

    def backward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Virtual positions (..., 2) -> source ones."""
        return (points - self.centre) @ np.linalg.inv(self.matrix).T + self.centre


def draw_affine(rng: np.random.Generator, centre: NDArray[np.float64], zoom: float) -> Affine:
    """A quarter turn, a small rotation, a flip, unequal scales, and an overall scale within 1 / zoom .. zoom."""
    quarter = int(rng.integers(4)) if rng.random() < 0.4 else 0
    angle = quarter * np.pi / 2 + rng.normal(0, 0.25)
    scales = np.exp(rng.uniform(-np.log(zoom), np.log(zoom)) + rng.uniform(-0.12, 0.12, 2)) * np.array([rng.choice([-1.0, 1.0]), 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Affine(matrix=turn * scales, centre=centre)


def elastic_field(rng: np.random.Generator, size: int, amplitude: float) -> NDArray[np.float64]:
    """A smooth displacement (size, size, 2) in shares of the frame's side, of standard deviation `amplitude` at its knots."""
    knots = torch.from_numpy(rng.normal(0, amplitude, (1, 2, ELASTIC_KNOTS, ELASTIC_KNOTS)))
    field = functional.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)[0]  # (2, size, size)
    return np.asarray(field.permute(1, 2, 0))


def resample(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], places: NDArray[np.float64], shrink: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read frames (t, row, column) and masks (n, t, row, column) at `places` (size, size, 2), source pixel indices (x, y); zero outside.

    Frames are read by cubic interpolation as inference resizes, after averaging `shrink` x `shrink` pixels where many fall together.
    """
    rows, columns = frames.shape[1:]
    low = np.clip(np.floor(places.min(axis=(0, 1))).astype(int) - 3, 0, [columns - 1, rows - 1])
    high = np.clip(np.ceil(places.max(axis=(0, 1))).astype(int) + 4, low + 1, [columns, rows])
    window = (slice(None), slice(None), slice(low[1], high[1]), slice(low[0], high[0]))
    stacked = np.concatenate([frames[None][window], masks[window]])  # (1 + n, t, row, column)
    both = torch.from_numpy(stacked.astype(np.float32)).transpose(0, 1)  # (t, 1 + n, row, column)
    extent = high - low
    if shrink > 1:
        both = functional.avg_pool2d(both, shrink, ceil_mode=True)
        extent = np.array(both.shape[:1:-1]) * shrink
    grid = torch.from_numpy(((places - low + 0.5) / extent * 2 - 1).astype(np.float32))[None].expand(len(frames), -1, -1, -1)
    grey = functional.grid_sample(both[:, :1], grid, mode="bicubic", padding_mode="zeros", align_corners=False)[:, 0]
    truth = functional.grid_sample(both[:, 1:], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return np.asarray(grey.clamp(0, 255)), np.asarray(truth.transpose(0, 1) > 0.5)


def recolour(frames: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another window, gamma, the negative, slow shading, blur and noise, each now and then; (t, row, column) of 0..255 -> uint8."""
    grey = frames / np.float32(255.0)
    if rng.random() < 0.5:
        low, high = rng.uniform(-0.15, 0.25), rng.uniform(0.65, 1.2)
        grey = (grey - low) / (high - low)
    grey = np.clip(grey, 0.0, 1.0) ** np.exp(rng.normal(0, 0.25))
    if rng.random() < 0.1:
        grey = 1.0 - grey
    if rng.random() < 0.25:
        grey = grey * (1.0 + 6 * elastic_field(rng, grey.shape[-1], 0.04)[..., 0])
    if rng.random() < 0.3:
        grey = _blurred(grey, rng.uniform(0.4, 1.6))
    grey = grey + rng.choice([0.0, 0.02, 0.05, 0.1]) * rng.uniform() * rng.standard_normal(grey.shape, dtype=np.float32)
    recoloured: NDArray[np.uint8] = (np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    return recoloured


def _blurred(grey: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Gaussian blur in-plane by two passes of a short kernel."""
    steps = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None, :, None]
    image = torch.from_numpy(grey.astype(np.float32))[:, None]
    image = functional.conv2d(functional.pad(image, (0, 0, 4, 4), mode="replicate"), kernel)
    image = functional.conv2d(functional.pad(image, (4, 4, 0, 0), mode="replicate"), kernel.transpose(2, 3))
    return np.asarray(image[:, 0])
