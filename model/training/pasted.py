"""Synthetic objects in real surroundings: a blob of another grey than its neighbourhood, the texture of the place shining through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.training.blobs import draw_blob, signed_depth
from model.training.volumes import LabelledObject, LabelledVolume

WINDOWS = (32, 48, 64, 96)
"""Sides, in pixels, of the piece of the volume that takes the blob."""
FAINTEST, STRONGEST = 18.0, 110.0
"""Grey levels between the blob and its surroundings."""


def paste_blob(volume: LabelledVolume, reach: int, rng: np.random.Generator) -> LabelledObject:
    """A random piece of `volume`, up to 2 `reach` + 1 slices deep, with one blob in it as its only object, of value 1."""
    side = int(rng.choice(WINDOWS))
    depth, rows, columns = (min(length, wanted) for length, wanted in zip(volume.frames.shape, (2 * reach + 1, side, side), strict=True))
    corner = [int(rng.integers(length - taken + 1)) for length, taken in zip(volume.frames.shape, (depth, rows, columns), strict=True)]
    piece = volume.frames[corner[0] : corner[0] + depth, corner[1] : corner[1] + rows, corner[2] : corner[2] + columns].astype(np.float32)
    blob = draw_blob(rng, major=(0.2, 0.6), half_height=(0.3, 1.0))
    blob = replace(blob, drift=(rng.uniform() * blob.drift[0], rng.uniform() * blob.drift[1]))  # lesions wander less than organs
    inside = signed_depth(blob, (depth, rows, columns))  # (k, j, i) in half widths
    share = np.clip(inside * columns / 2 / rng.uniform(0.7, 3.0) + 0.5, 0.0, 1.0)
    surroundings = float(piece[(inside > -0.3) & (inside < 0)].mean()) if (inside > -0.3).any() else float(piece.mean())
    grey = surroundings + rng.uniform(FAINTEST, STRONGEST) * (-1 if rng.random() < surroundings / 255 else 1)
    painted = grey + rng.uniform(0.2, 0.9) * (piece - surroundings)
    frames = np.clip(piece + share * (painted - piece), 0, 255).astype(np.uint8)
    labels = (inside > 0).astype(np.uint8)
    made = LabelledVolume(frames=frames, labels=labels, structures={"blob": 1}, case=volume.case)
    return LabelledObject(volume=made, value=1, areas=made.areas(1))
