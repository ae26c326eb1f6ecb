"""Clips: a prompted slice and the slices that follow it in one direction, in the object's region, with one object's mask on each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.config import MedSAM2Config
from model.preprocess import to_model_pixels
from model.prompt import BoxPrompt
from model.region import Edges, region_around
from model.training.augment import draw_affine, elastic_field, recolour, resample
from model.training.pasted import paste_blob
from model.training.volumes import LabelledObject, LabelledVolume, Pool

DRAWS = 200
"""Objects tried for one clip before the data are declared unfit."""
ISOTROPIC = 1.3
"""Ratio of the largest to the smallest spacing up to which a volume may be walked along any axis."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Slice 0 is the one to prompt; later ones follow it in the direction of propagation."""

    frames: NDArray[np.uint8]
    """(t, row, column) uint8, at the network's image size."""
    masks: NDArray[np.bool_]
    """(t, row, column) bool; empty where the object has ended."""
    box: NDArray[np.float32]
    """(2, 2) the jittered box on slice 0 as inference would hand it on: (x, y) of two corners, in model pixels."""
    stride: int = 1
    """Slices of the volume from one frame of the clip to the next."""


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How clips are drawn and varied."""

    length: int
    least_pixels: int = 4
    """Pixels that the object must show on the prompted slice, in the volume and in the network's image."""
    longest_stride: int = 2
    wide_stride_share: float = 0.2
    jitter: float = 0.1
    """Each side of the box moves by a uniform share of the box, up to this one, inwards or outwards."""
    zoom: float = 1.25
    elastic: float = 0.012
    """Standard deviation of the bending, share of the frame."""
    ending_share: float = 0.4
    """Share of the clips that run over the object's end: what teaches the model that an object is gone."""
    middle_share: float = 0.35
    """Share of the clips prompted in the middle third of the object, where a reader would."""
    other_axis_share: float = 0.2
    """Share of the clips from isotropic volumes that walk along the rows or columns."""
    pasted_share: float = 0.1
    """Share of the clips whose object is a synthetic blob in a real volume."""
    whole_frame: bool = False
    """Show the whole frame even to a network that knows regions, as a prompt without an extent does."""
    most_objects: int = 3
    """Objects of one clip that whole frames are shown for; in regions each object has frames of its own."""


def draw_clips(pool: Pool, options: ClipOptions, config: MedSAM2Config, count: int, rng: np.random.Generator) -> list[Clip]:
    """`count` augmented clips of one stride; objects of one volume may share their frames (the very same array).

    Raises ValueError when 200 objects in a row have no clip.
    """
    wide = options.length > 1 and rng.random() < options.wide_stride_share
    stride = int(rng.integers(2, options.longest_stride + 1)) if wide and options.longest_stride > 1 else 1
    clips: list[Clip] = []
    misses = 0
    while len(clips) < count:
        found = draw_clip(pool.draw(rng), options, config, stride, rng)
        misses = 0 if found else misses + 1
        clips += found
        if misses >= DRAWS:
            wanted = f"an object of {options.least_pixels} pixels and {options.length} slices in a row"
            raise ValueError(f"expected volumes with {wanted}, got {DRAWS} without: give larger volumes or shorter clips")
    return clips[:count]


def draw_clip(drawn: LabelledObject, options: ClipOptions, config: MedSAM2Config, stride: int, rng: np.random.Generator) -> list[Clip]:
    """Augmented clips of one object, and in whole frames of others beside it; none when it is too small or the volume too short there."""
    if rng.random() < options.pasted_share:
        drawn = paste_blob(drawn.volume, options.length * stride, rng)
    drawn = _turned(drawn, options, rng)
    visible = np.flatnonzero(drawn.areas >= options.least_pixels)
    if visible.size == 0:
        return []
    step = int(rng.choice([-1, 1])) * stride
    start = _start(visible, step, options, rng)
    reach = step * (options.length - 1)
    if not 0 <= start + reach < len(drawn.areas):
        step, reach = -step, -reach
    if not 0 <= start + reach < len(drawn.areas):
        return []
    picked = start + step * np.arange(options.length)
    labels = drawn.volume.labels[picked]
    values = [drawn.value]
    if options.whole_frame or config.region_scale == 0:
        values += _beside(labels[0], drawn, options, rng)
    masks = np.stack([labels == value for value in values])  # (n, t, row, column)
    return _viewed(drawn.volume.frames[picked], masks, options, config, stride, rng)


def _beside(labels: NDArray[np.uint8], drawn: LabelledObject, options: ClipOptions, rng: np.random.Generator) -> list[int]:
    """Label values of other known structures on the prompted slice (row, column), up to a random number of them."""
    counts = np.bincount(labels.ravel(), minlength=256)
    known = [value for value in drawn.volume.structures.values() if value != drawn.value and counts[value] >= options.least_pixels]
    wanted = int(rng.integers(options.most_objects))
    return [int(value) for value in rng.permutation(known)[:wanted]]


def _turned(drawn: LabelledObject, options: ClipOptions, rng: np.random.Generator) -> LabelledObject:
    """Now and then the same object of an isotropic volume, walked along its rows or columns."""
    volume = drawn.volume
    spacing = volume.spacing_mm
    if spacing is None or max(spacing) > ISOTROPIC * min(spacing) or rng.random() >= options.other_axis_share:
        return drawn
    axis = int(rng.integers(1, 3))
    turned = LabelledVolume(
        frames=np.moveaxis(volume.frames, axis, 0),
        labels=np.moveaxis(volume.labels, axis, 0),
        structures=volume.structures,
        case=volume.case,
    )
    return LabelledObject(volume=turned, value=drawn.value, areas=turned.areas(drawn.value))


def _start(visible: NDArray[np.intp], step: int, options: ClipOptions, rng: np.random.Generator) -> int:
    """The slice to prompt: before the object's end for some clips, in its middle for some, else anywhere."""
    choice = rng.random()
    if options.length > 1 and choice < options.ending_share:
        end = int(visible[-1] if step > 0 else visible[0])
        before = end - step * int(rng.integers(0, options.length - 1))
        if before in visible:
            return before
    if choice < options.ending_share + options.middle_share:
        third = len(visible) // 3
        visible = visible[third : len(visible) - third]
    return int(rng.choice(visible))


def _viewed(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], options: ClipOptions, config: MedSAM2Config, stride: int, rng: np.random.Generator
) -> list[Clip]:
    """The slices as the network would see them, had the patient lain a little differently; masks (n, t, row, column), the first leads."""
    size, whole = config.image_size, options.whole_frame or config.region_scale == 0
    rows, columns = frames.shape[1:]
    pixels = [np.argwhere(mask)[:, ::-1].astype(np.float64) for mask in masks[:, 0]]  # n times (pixels, 2) as (x, y)
    centre = np.array([columns - 1, rows - 1]) / 2 if whole else (pixels[0].min(axis=0) + pixels[0].max(axis=0)) / 2
    affine = draw_affine(rng, centre, options.zoom if whole else 1.0)
    edges = [_jittered(_edges(affine.forward(each)), options.jitter, rng) for each in pixels]
    views = [_whole_view(each, (rows, columns), size) for each in edges] if whole else [_region_view(edges[0], config)]
    corner, extent, _ = views[0]
    cells = (np.arange(size) + 0.5) / size
    shares = np.stack(np.meshgrid(cells, cells), axis=-1) + elastic_field(rng, size, options.elastic)  # (size, size, 2) as (x, y)
    places = affine.backward(corner - 0.5 + shares * extent)
    grey, truths = resample(frames, masks, places, shrink=max(1, int(min(extent) / size)))
    shown = recolour(grey, rng)
    return [
        Clip(frames=shown, masks=truth, box=box, stride=stride)
        for truth, (_, _, box) in zip(truths, views, strict=True)
        if truth[0].sum() >= options.least_pixels
    ]


def _edges(points: NDArray[np.float64]) -> Edges:
    """Outer edges of pixels at `points` (n, 2) as (x, y)."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left - 0.5, top - 0.5, right + 0.5, bottom + 0.5


def _region_view(edges: Edges, config: MedSAM2Config) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """First pixel (x, y), extent in pixels, and the box in model pixels, of the region that inference would cut."""
    region = region_around(edges, config)
    left, top, right, bottom = edges
    prompt = region.move(BoxPrompt(frame=0, left=left + 0.5, top=top + 0.5, right=right - 0.5, bottom=bottom - 0.5), config.image_size)
    assert isinstance(prompt, BoxPrompt)
    corners = np.array(prompt.corners, np.float32).reshape(2, 2)
    box = to_model_pixels(corners, (region.side, region.side), config.image_size)
    return np.array([region.left, region.top], np.float64), np.array([region.side, region.side], np.float64), box


def _whole_view(
    edges: Edges, frame_size: tuple[int, int], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """The same for the whole frame; the box is of inclusive pixel indices, within the frame."""
    left, top, right, bottom = edges
    limit = np.array([frame_size[1] - 1, frame_size[0] - 1])
    corners = np.clip(np.round([[left + 0.5, top + 0.5], [right - 0.5, bottom - 0.5]]), 0, limit).astype(np.float32)
    return np.zeros(2), np.array(frame_size[::-1], np.float64), to_model_pixels(corners, frame_size, size)


def _jittered(edges: Edges, jitter: float, rng: np.random.Generator) -> Edges:
    """Every edge moved by its own share of the box's size, on three boxes of four; at least a pixel of box stays."""
    left, top, right, bottom = edges
    amount = rng.uniform(-jitter, jitter, 4) * (rng.random() < 0.75)
    width, height = right - left, bottom - top
    left, top, right, bottom = left + amount[0] * width, top + amount[1] * height, right + amount[2] * width, bottom + amount[3] * height
    return min(left, right - 1), min(top, bottom - 1), right, bottom
