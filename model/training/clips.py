"""Clips: a prompted slice and the slices that follow it in one direction, with one object's mask on each, and their augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model.training.bank import LabelledFrames

DRAWS = 50
"""Volumes tried for one clip before the data are declared unfit."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Slice 0 is the one to prompt; later ones follow it in the direction of propagation."""

    frames: NDArray[np.uint8]
    """(t, row, column) uint8."""
    masks: NDArray[np.bool_]
    """(t, row, column) bool; empty where the object has ended."""
    stride: int
    """Slices of the volume from one frame of the clip to the next."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How clips are drawn and varied."""

    length: int
    size: int
    """Side of the square frames that come out, in pixels."""
    minimum_area: int = 25
    """Pixels that the object must show on the prompted slice, at `size`."""
    longest_stride: int = 2
    zoom: float = 1.25
    """In-plane scale, drawn between 1 / zoom and zoom."""
    shift: float = 0.12
    """In-plane shift, fraction of the half width."""
    ending_share: float = 0.5
    """Share of the clips that run over the object's end: what teaches the model that an object is gone."""


def draw_clips(volumes: Iterator[LabelledFrames], options: ClipOptions, count: int, rng: np.random.Generator) -> list[Clip]:
    """`count` augmented clips of one stride, each from the next volume that has one.

    Raises ValueError when 50 volumes in a row have none.
    """
    stride = int(rng.integers(1, options.longest_stride + 1)) if options.length > 1 else 1
    clips: list[Clip] = []
    misses = 0
    while len(clips) < count:
        clip = draw_clip(next(volumes), options, stride, rng)
        misses = 0 if clip is not None else misses + 1
        if clip is not None:
            clips.append(clip)
        elif misses >= DRAWS:
            wanted = f"an object of {options.minimum_area} pixels and {options.length} slices in a row"
            msg = f"expected volumes with {wanted}, got {DRAWS} without: give larger volumes or shorter clips"
            raise ValueError(msg)
    return clips


def draw_clip(volume: LabelledFrames, options: ClipOptions, stride: int, rng: np.random.Generator) -> Clip | None:
    """An augmented clip of one object of `volume`, or None when the object drawn is too small or the volume too short there."""
    masks = volume.masks[int(rng.integers(len(volume.masks)))]
    slices, rows, columns = masks.shape
    area = masks.sum(axis=(1, 2)) * (options.size**2 / (rows * columns))
    visible = np.flatnonzero(area >= options.minimum_area)
    if visible.size == 0:
        return None
    direction = int(rng.choice([-1, 1])) * stride
    start = _start(area, visible, (direction, options), rng)
    if not 0 <= start + direction * (options.length - 1) < slices:
        direction = -direction
    if not 0 <= start + direction * (options.length - 1) < slices:
        return None
    picked = start + direction * np.arange(options.length)
    frames, truth = _warp(volume.frames[picked], masks[picked], options, rng)
    if truth[0].sum() < options.minimum_area:
        return None
    return Clip(frames=_recolour(frames, rng), masks=truth, stride=stride)


def _start(area: NDArray[np.float64], visible: NDArray[np.intp], course: tuple[int, ClipOptions], rng: np.random.Generator) -> int:
    """The slice to prompt: before the object's end for some clips, else anywhere, or where a reader would prompt."""
    direction, options = course
    if options.length > 1 and rng.random() < options.ending_share:
        end = int(visible[-1] if direction > 0 else visible[0])
        before = end - direction * int(rng.integers(1, options.length))
        if before in visible:
            return before
    weights = area[visible] if rng.random() < 0.5 else np.ones(visible.size)
    return int(rng.choice(visible, p=weights / weights.sum()))


def _warp(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], options: ClipOptions, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One random flip, rotation, scale and shift for the whole clip, resampled to `options.size`; what comes from outside is black."""
    angle = rng.choice([0.0, np.pi / 2, np.pi, 3 * np.pi / 2]) + rng.normal(0, 0.25)
    log_zoom = np.log(options.zoom)
    scale = np.exp(rng.uniform(-log_zoom, log_zoom) + rng.uniform(-0.1, 0.1, 2)) * np.array([rng.choice([-1.0, 1.0]), 1.0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = rng.uniform(-options.shift, options.shift, (2, 1))
    matrix = torch.from_numpy(np.hstack([rotation * scale, shift]).astype(np.float32))
    matrices = matrix[None].expand(len(frames), -1, -1)
    grid = functional.affine_grid(matrices, [len(frames), 2, options.size, options.size], align_corners=False)
    both = torch.from_numpy(np.stack([frames.astype(np.float32), masks.astype(np.float32)], axis=1))  # (t, 2, row, column)
    warped = functional.grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False).numpy()
    return warped[:, 0], warped[:, 1] > 0.5


def _recolour(frames: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random gain, offset, gamma, noise, and now and then the negative; back to uint8."""
    grey = np.clip(frames / 255.0, 0.0, 1.0) ** np.exp(rng.uniform(-0.2, 0.2))
    if rng.random() < 0.05:
        grey = 1.0 - grey
    grey = (grey - 0.5) * rng.uniform(0.85, 1.15) + 0.5 + rng.uniform(-0.1, 0.1)
    grey = grey + rng.uniform(0, 0.025) * rng.standard_normal(grey.shape, dtype=np.float32)
    recoloured: NDArray[np.uint8] = (np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
    return recoloured
