"""A slice with the prompts that were made on it: boxes, points and masks, each object in its own colour."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_io.preview import TARGET_COLOURS
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt

WIDTH = 420
"""Pixels of the longer side: a slice and its caption fit side by side on a page."""
MASK_SHARE = 0.35
DOT = 4


@dataclass(frozen=True, kw_only=True)
class DrawnObject:
    """The prompts of one object on one slice."""

    object_id: int
    prompts: tuple[Prompt, ...]

    @property
    def colour(self) -> tuple[int, int, int]:
        """Red, green, blue; the same for the object on every slice."""
        return colour_of(self.object_id)


def colour_of(object_id: int) -> tuple[int, int, int]:
    """Return the colour of an object, counted from 1."""
    return TARGET_COLOURS[(object_id - 1) % len(TARGET_COLOURS)]


def draw_prompts(
    plane: NDArray[np.float32], window: tuple[float, float], spacing_mm: tuple[float, float], objects: Sequence[DrawnObject]
) -> bytes:
    """Return a PNG of a slice (row, column) in its true proportions, `window` (low, high) as black and white.

    `spacing_mm`: between rows, between columns. A pixel's index is its centre, so that a box of one pixel is drawn around it.
    """
    low, high = window
    grey = np.clip((plane - low) / max(high - low, 1e-6) * 255.0, 0, 255).astype(np.uint8)
    height_mm, width_mm = plane.shape[0] * spacing_mm[0], plane.shape[1] * spacing_mm[1]
    scale = WIDTH / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    picture = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    steps = (size[0] / plane.shape[1], size[1] / plane.shape[0])
    for item in objects:
        for prompt in item.prompts:
            picture = _drawn(picture, prompt, steps, item.colour)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _drawn(picture: Image.Image, prompt: Prompt, steps: tuple[float, float], colour: tuple[int, int, int]) -> Image.Image:
    if isinstance(prompt, MaskPrompt):
        area = Image.fromarray(prompt.mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
        return Image.composite(Image.blend(picture, Image.new("RGB", picture.size, colour), MASK_SHARE), picture, area)
    draw = ImageDraw.Draw(picture)
    if isinstance(prompt, BoxPrompt):
        left, top = prompt.left * steps[0], prompt.top * steps[1]
        draw.rectangle((left, top, (prompt.right + 1) * steps[0] - 1, (prompt.bottom + 1) * steps[1] - 1), outline=colour, width=2)
    elif isinstance(prompt, PointPrompt):
        for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
            _dot(draw, ((x + 0.5) * steps[0], (y + 0.5) * steps[1]), colour, positive=bool(label))
    return picture


def _dot(draw: ImageDraw.ImageDraw, at: tuple[float, float], colour: tuple[int, int, int], *, positive: bool) -> None:
    """A disc for a point inside the object, a cross for one outside."""
    x, y = at
    if positive:
        draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=colour, outline=(255, 255, 255))
        return
    draw.line((x - DOT, y - DOT, x + DOT, y + DOT), fill=colour, width=2)
    draw.line((x - DOT, y + DOT, x + DOT, y - DOT), fill=colour, width=2)
