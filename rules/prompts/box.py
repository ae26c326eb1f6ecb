"""Recipe `box`: a fixed place, in pixels, in fractions of the image, or in patient millimetres.

Use it where the object always lies in the same place: phantoms, animal beds, fixed fields of view, a box that another system
worked out. Across patients a fixed place is a poor prompt; prefer a recipe that looks at the image.
A box that leaves the image is clipped; one that lies outside is *none found*.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from dicom_io.geometry import kji_to_lps, lps_to_kji
from dicom_io.volume import Volume
from model.prompt import BoxPrompt
from rules.prompts.outcome import NoneFound
from rules.scalars import INTEGER, Integer, Number, Section, shown

Fraction: TypeAlias = Annotated[Number, Field(ge=0, le=1)]
PixelIndex: TypeAlias = Annotated[Integer, Field(ge=0)]


class FrameChoice(Section):
    """The slice that is prompted: exactly one of an index k, a fraction of the stack, or a place along patient z."""

    index: PixelIndex | None = None
    """k, from 0 along the slice normal."""
    fraction: Fraction | None = None
    """0 is the first slice, 1 the last, 0.5 the middle."""
    z_mm: Number | None = None
    """The slice whose middle is nearest to this z in patient (LPS) millimetres."""

    @model_validator(mode="after")
    def _exactly_one(self) -> FrameChoice:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected middle, an index, or one of index, fraction, z_mm; got {' and '.join(given) or 'none'}")
        return self


def _spelled_out(value: object) -> object:
    if value == "middle":
        return {"fraction": 0.5}
    if isinstance(value, str) and not INTEGER.fullmatch(value):
        raise ValueError(f"expected middle, an index, or one of index, fraction, z_mm; got {shown(value)}")
    return {"index": value} if isinstance(value, str | int) else value


FRAME_FORMS = {"anyOf": [{"const": "middle"}, {"type": "integer", "minimum": 0}, FrameChoice.model_json_schema()]}
Frame: TypeAlias = Annotated[FrameChoice, BeforeValidator(_spelled_out), WithJsonSchema(FRAME_FORMS)]


class PixelBox(Section):
    """Pixel indices, inclusive."""

    kind: Literal["box"]
    unit: Literal["pixel"]
    left: PixelIndex
    top: PixelIndex
    right: PixelIndex
    bottom: PixelIndex
    frame: Frame

    @model_validator(mode="after")
    def _ordered(self) -> PixelBox:
        _require_order(self.left, self.top, self.right, self.bottom)
        return self


class FractionBox(Section):
    """Fractions of the image's width and height: 0 is the outer edge of the first pixel, 1 that of the last."""

    kind: Literal["box"]
    unit: Literal["fraction"]
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction
    frame: Frame

    @model_validator(mode="after")
    def _ordered(self) -> FractionBox:
        _require_order(self.left, self.top, self.right, self.bottom)
        return self


class Span(Section):
    """From minimum to maximum along one patient axis, in millimetres."""

    minimum: Number
    maximum: Number

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.minimum > self.maximum:
            raise ValueError(f"expected minimum <= maximum, got {self.minimum:g} and {self.maximum:g}")
        return self


class MillimetreBox(Section):
    """A cuboid in patient (LPS) millimetres; the slice through its centre is prompted with its cross-section."""

    kind: Literal["box"]
    unit: Literal["millimetre"]
    x_mm: Span
    y_mm: Span
    z_mm: Span


BoxRecipe: TypeAlias = Annotated[PixelBox | FractionBox | MillimetreBox, Field(discriminator="unit")]
Edges: TypeAlias = tuple[float, float, float, float]
"""(left, top, right, bottom) in continuous pixel coordinates; the outer edge of the first pixel is -0.5."""


def find_box(recipe: PixelBox | FractionBox | MillimetreBox, volume: Volume) -> BoxPrompt | NoneFound:
    """Return the recipe's box on its slice of the volume, clipped to the image, or why there is none."""
    if isinstance(recipe, MillimetreBox):
        frame, edges = _cross_section(recipe, volume)
    else:
        frame = chosen_frame(recipe.frame, volume)
        edges = _image_edges(recipe, volume)
    return clipped_box(frame, edges, volume)


def chosen_frame(choice: FrameChoice, volume: Volume) -> int:
    """Return the slice index k that `choice` names; it may lie outside of the volume."""
    slices, rows, columns = volume.voxels.shape
    if choice.index is not None:
        return choice.index
    if choice.fraction is not None:
        return nearest(choice.fraction * (slices - 1))
    middles = kji_to_lps(volume.affine, [(k, (rows - 1) / 2, (columns - 1) / 2) for k in range(slices)])
    step = abs(float(volume.affine[2, 0]))
    distances = np.abs(middles[:, 2] - (choice.z_mm or 0.0))
    nearest_slice = int(np.argmin(distances))
    # Beyond half a slice from every middle the place lies outside; slices that do not step along z have no z of their own.
    return nearest_slice if step > 0 and distances[nearest_slice] <= step / 2 + 1e-6 else -1


def clipped_box(frame: int, edges: Edges, volume: Volume) -> BoxPrompt | NoneFound:
    """Return the inclusive pixel box of `edges` clipped to the image, or why nothing of it lies in the volume."""
    slices, rows, columns = volume.voxels.shape
    if not 0 <= frame < slices:
        place = "before the first slice" if frame < 0 else f"slice {frame}"
        return NoneFound(reason=f"the box lies outside the volume: expected a slice of 0..{slices - 1}, got {place}")
    left, top, right, bottom = edges
    if right <= -0.5 or bottom <= -0.5 or left >= columns - 0.5 or top >= rows - 0.5:
        return NoneFound(reason=f"the box lies outside the image of {columns} x {rows} pixels")
    left, right = _pixels(left, right, columns)
    top, bottom = _pixels(top, bottom, rows)
    return BoxPrompt(frame=frame, left=left, top=top, right=right, bottom=bottom)


def nearest(value: float) -> int:
    """Return the nearest integer, halves upwards (Python's `round` would alternate)."""
    return math.floor(value + 0.5)


def _pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the first and last pixel of an extent between two edges: at least one, within the image."""
    first, last = nearest(low + 0.5), nearest(high - 0.5)
    if first > last:
        first = last = nearest((low + high) / 2)
    return min(max(first, 0), size - 1), min(max(last, 0), size - 1)


def _image_edges(recipe: PixelBox | FractionBox, volume: Volume) -> Edges:
    _, rows, columns = volume.voxels.shape
    if isinstance(recipe, PixelBox):
        return recipe.left - 0.5, recipe.top - 0.5, recipe.right + 0.5, recipe.bottom + 0.5
    return recipe.left * columns - 0.5, recipe.top * rows - 0.5, recipe.right * columns - 0.5, recipe.bottom * rows - 0.5


def _cross_section(recipe: MillimetreBox, volume: Volume) -> tuple[int, Edges]:
    """Cut the cuboid with the slice plane through its centre: the extent of the polygon, whatever the orientation."""
    spans = [(span.minimum, span.maximum) for span in (recipe.x_mm, recipe.y_mm, recipe.z_mm)]
    corners = lps_to_kji(volume.affine, list(itertools.product(*spans)))
    plane = float(corners[:, 0].mean())
    points = np.array([point for a, b in _edges_of_cuboid() for point in _crossing(corners[a], corners[b], plane)])
    (top, left), (bottom, right) = points[:, 1:].min(axis=0), points[:, 1:].max(axis=0)
    return nearest(plane), (float(left), float(top), float(right), float(bottom))


def _edges_of_cuboid() -> list[tuple[int, int]]:
    return [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]


def _crossing(a: NDArray[np.float64], b: NDArray[np.float64], plane: float) -> list[NDArray[np.float64]]:
    """Return where the edge a-b meets the plane k = `plane`: no point, one, or both ends of an edge that lies in it."""
    above, below = a[0] - plane, b[0] - plane
    if abs(above) < 1e-9 and abs(below) < 1e-9:
        return [a, b]
    if above * below > 0:
        return []
    return [a + (b - a) * (above / (above - below))]


def _require_order(left: float, top: float, right: float, bottom: float) -> None:
    if left > right or top > bottom:
        raise ValueError(f"expected left <= right and top <= bottom, got left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}")
