"""Overlay pictures: outlines on slices in grey, each target on the slice that shows most of it, for a glance, not for diagnosis."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from dicom_io.segmentation_types import Masks

FOOTER = "AI result, not for diagnosis"
TARGET_COLOURS = ((255, 140, 66), (66, 200, 255), (140, 230, 90), (255, 95, 150), (255, 214, 60), (178, 140, 255))
"""Red, green, blue of the outlines, in the order of the targets; told apart on grey, also with the common colour blindnesses."""

_Rgb = tuple[int, int, int]
_WHITE: _Rgb = (255, 255, 255)
_BACKGROUND: _Rgb = (18, 20, 24)
_TEXT: _Rgb = (235, 238, 242)
_FAINT: _Rgb = (150, 156, 166)
_PANEL, _GAP, _CAPTION, _FOOTER_HEIGHT = 360, 18, 50, 34
PANELS_A_ROW = 4
_RESULT_FILTER, _TRUTH_FILTER = 5, 7
"""Sizes of the filters that make outlines of two and three pixels: where both agree, the white still shows beside the colour."""
_ROOM = 2.2
"""A panel shows this many times the extent of its target ..."""
_LEAST_SHOWN = 0.5
"""... but no less than this part of the slice, so that the reader sees where it is."""


def overlay_picture(
    voxels: NDArray[np.float32],
    masks: Masks,
    labels: Sequence[str],
    window: tuple[float, float],
    truth: NDArray[np.bool_] | None = None,
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.uint8]:
    """Return a picture, (row, column, RGB) uint8, with one panel a target: slice in grey, result outlined in colour, truth in white.

    `voxels`: (k, j, i) float32, in the unit of `window` (centre, width). `masks` and `truth`: (target, k, j, i) bool;
    `labels[n]` belongs to `masks[n]`. `pixel_spacing_mm`: between rows, between columns, for the panel's proportions.
    Raises ValueError if shapes do not fit each other or the window has no width.
    """
    _check_shapes(voxels, masks, labels, window, truth)
    panels = []
    for n, label in enumerate(labels):
        shown = masks[n] if masks[n].any() or truth is None else truth[n]
        k = _largest_slice(shown)
        view = _view(shown[k], pixel_spacing_mm)
        panels.append(
            Panel(
                label=label,
                facts=_facts(masks[n], k),
                grey=_grey(voxels[k][view], window),
                mask=masks[n][k][view],
                truth=None if truth is None else truth[n, k][view],
                pixel_spacing_mm=pixel_spacing_mm,
            )
        )
    return draw_panels(panels)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One slice, or a part of one, with its outlines; all (row, column)."""

    label: str
    facts: str
    """A second line of the caption."""
    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    truth: NDArray[np.bool_] | None = None
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0)
    """Between rows, between columns, for the proportions."""


def draw_panels(panels: Sequence[Panel], most_a_row: int = PANELS_A_ROW) -> NDArray[np.uint8]:
    """Return one picture, (row, column, RGB) uint8, of all panels, row by row."""
    columns = max(1, min(most_a_row, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    size = (_GAP + columns * (_PANEL + _GAP), _GAP + rows * (_PANEL + _CAPTION + _GAP) + _FOOTER_HEIGHT)
    sheet = Image.new("RGB", size, _BACKGROUND)
    for n, panel in enumerate(panels):
        corner = (_GAP + n % columns * (_PANEL + _GAP), _GAP + n // columns * (_PANEL + _CAPTION + _GAP))
        colour = TARGET_COLOURS[n % len(TARGET_COLOURS)]
        picture = _drawn(panel, colour)
        sheet.paste(picture, (corner[0] + (_PANEL - picture.width) // 2, corner[1] + _CAPTION + (_PANEL - picture.height) // 2))
        _caption(sheet, corner, panel, colour)
    _footer(sheet, has_truth=any(panel.truth is not None for panel in panels))
    return np.asarray(sheet)


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture (row, column, RGB) as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def overlay_sheet(
    voxels: NDArray[np.float32],
    masks: Masks,
    labels: Sequence[str],
    window: tuple[float, float],
    truth: NDArray[np.bool_] | None = None,
    pixel_spacing_mm: tuple[float, float] = (1.0, 1.0),
) -> bytes:
    """Return the same picture as a PNG."""
    return as_png(overlay_picture(voxels, masks, labels, window, truth, pixel_spacing_mm))


def _check_shapes(
    voxels: NDArray[np.float32],
    masks: Masks,
    labels: Sequence[str],
    window: tuple[float, float],
    truth: NDArray[np.bool_] | None,
) -> None:
    for name, several in (("masks", masks), ("truth", truth)):
        if several is None:
            continue
        shapes = {mask.shape for mask in several}
        if len(several) != len(labels) or shapes - {voxels.shape}:
            raise ValueError(f"{name}: expected {len(labels)} of shape {voxels.shape}, got {len(several)} of {sorted(shapes)}")
    if window[1] <= 0.0:
        raise ValueError(f"window: expected a width above 0, got {window[1]}")


def _largest_slice(mask: NDArray[np.bool_]) -> int:
    """Index k of the slice with the most voxels; the middle one if there is none."""
    areas = mask.sum(axis=(1, 2))
    return int(np.argmax(areas)) if areas.any() else mask.shape[0] // 2


def _facts(mask: NDArray[np.bool_], k: int) -> str:
    voxels = int(np.count_nonzero(mask))
    return f"slice {k + 1} of {mask.shape[0]}, {voxels} voxels in all" if voxels else f"slice {k + 1} of {mask.shape[0]}, nothing found"


def _view(mask: NDArray[np.bool_], pixel_spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns of the square (in millimetres) around a target that its panel shows; the whole slice without a target."""
    spacing, shape = np.asarray(pixel_spacing_mm), np.asarray(mask.shape)
    if not mask.any():
        return slice(None), slice(None)
    indices = np.argwhere(mask)
    first, last = indices.min(axis=0), indices.max(axis=0)
    side_mm = max(float(((last - first + 1) * spacing).max()) * _ROOM, float((shape * spacing).max()) * _LEAST_SHOWN)
    extent = np.minimum(np.ceil(side_mm / spacing).astype(int), shape)
    start = np.clip((first + last + 1 - extent) // 2, 0, shape - extent)
    return slice(start[0], start[0] + extent[0]), slice(start[1], start[1] + extent[1])


def _grey(plane: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    centre, width = window
    grey: NDArray[np.uint8] = np.round(np.clip((plane - (centre - width / 2.0)) / width, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey


def _drawn(panel: Panel, colour: _Rgb) -> Image.Image:
    """A slice in its true proportions, as large as a panel, with its outlines."""
    height_mm, width_mm = (count * step for count, step in zip(panel.grey.shape, panel.pixel_spacing_mm, strict=True))
    scale = _PANEL / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    picture = Image.fromarray(panel.grey).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    area = _enlarged(panel.mask, size)
    picture = Image.composite(Image.blend(picture, Image.new("RGB", size, colour), 0.15), picture, area)
    if panel.truth is not None:
        picture.paste(_WHITE, mask=_outline(_enlarged(panel.truth, size), _TRUTH_FILTER))
    picture.paste(colour, mask=_outline(area, _RESULT_FILTER))
    return picture


def _enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """The mask at the size of the picture with rounded corners, 0 or 255."""
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    return grey.point([0] * 128 + [255] * 128)


def _outline(area: Image.Image, size: int) -> Image.Image:
    return ImageChops.difference(area, area.filter(ImageFilter.MinFilter(size)))


def _caption(sheet: Image.Image, corner: tuple[int, int], panel: Panel, colour: _Rgb) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = corner
    draw.rounded_rectangle((x, y + 3, x + 14, y + 17), radius=3, fill=colour)
    draw.text((x + 22, y), _shortened(panel.label, 17, _PANEL - 22), fill=_TEXT, font=_font(17))
    draw.text((x + 22, y + 24), panel.facts, fill=_FAINT, font=_font(13))


def _footer(sheet: Image.Image, *, has_truth: bool) -> None:
    draw = ImageDraw.Draw(sheet)
    y = sheet.height - _FOOTER_HEIGHT + 2
    draw.text((_GAP, y), FOOTER, fill=_TEXT, font=_font(15))
    legend = "colour: result    white: truth"
    right = sheet.width - _GAP - _font(13).getlength(legend)
    if has_truth and right > _GAP * 2 + _font(15).getlength(FOOTER):
        draw.text((right, y + 2), legend, fill=_FAINT, font=_font(13))


def _shortened(text: str, size: int, width: int) -> str:
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("preview: expected a Pillow with FreeType, got one without; install the pillow wheel from PyPI")
    return font
