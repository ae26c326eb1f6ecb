"""The plot of a training run: loss and validation Dice over its steps, drawn from metrics.jsonl."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]

_SIZE, _MARGIN, _GAP = (960, 620), 64, 40
_BACKGROUND, _TEXT, _FAINT = (255, 255, 255), (30, 34, 40), (205, 210, 216)
_LOSS, _DICE = (200, 90, 20), (20, 110, 190)
_GRID_LINES = 4


def plot_metrics(metrics: Path) -> bytes:
    """A PNG with two panels over the same steps. Raises OSError where there is no such file."""
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    losses = [(float(row["step"]), float(row["loss"])) for row in rows if "loss" in row]
    dices = [(float(row["step"]), float(row["validation"]["median_dice"])) for row in rows if "validation" in row]
    picture = Image.new("RGB", _SIZE, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    last = max((step for step, _ in (*losses, *dices)), default=1.0)
    half = (_SIZE[1] - 2 * _MARGIN - _GAP) // 2
    highest = max((loss for _, loss in losses), default=1.0)
    _panel(draw, _MARGIN, half, "training loss", losses, (last, highest), _LOSS)
    _panel(draw, _MARGIN + half + _GAP, half, "median Dice of validation objects", dices, (last, 1.0), _DICE)
    draw.text((_SIZE[0] - _MARGIN - 90, _SIZE[1] - _MARGIN + 22), f"{last:.0f} steps", fill=_TEXT, font=_font())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _panel(
    draw: ImageDraw.ImageDraw, top: int, height: int, title: str, points: Sequence[Point], limits: Point, colour: tuple[int, int, int]
) -> None:
    """limits: the largest step and value; both axes begin at 0."""
    width = _SIZE[0] - 2 * _MARGIN
    for line in range(_GRID_LINES + 1):
        level = top + height - line * height // _GRID_LINES
        draw.line([(_MARGIN, level), (_MARGIN + width, level)], fill=_FAINT)
        draw.text((12, level - 8), f"{limits[1] * line / _GRID_LINES:.2f}", fill=_TEXT, font=_font())
    draw.text((_MARGIN, top - 22), title, fill=_TEXT, font=_font())
    places = [(_MARGIN + width * step / limits[0], top + height * (1 - min(1.0, value / limits[1]))) for step, value in points]
    if len(places) > 1:
        draw.line(places, fill=colour, width=2)
    for x, y in places if len(places) <= 60 else ():
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(14)
