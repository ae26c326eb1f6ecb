"""What an evaluation leaves behind: a table of all scores, the summary, and a sheet of the worst, median and best overlays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from daemon.evaluation import Mask, Score, View, summary
from daemon.evaluation_baselines import BASELINES
from dicom_io.preview import Panel, as_png, draw_panels
from model.training.baselines import box_of

PANELS_A_ROW_OF_SHEET = 6
"""A family a row: three objects on two slices."""
SURROUNDINGS = 2.0
"""Sides of the object that a panel of the sheet shows."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Everything scored with one weights file."""

    weights: str
    scores: tuple[Score, ...]
    views: tuple[View, ...]
    """`views[n]` belongs to `scores[n]`."""


def as_json(evaluated: Sequence[Evaluated]) -> str:
    """One line: the summary of the one model, or the summaries of several by name under `weights`."""
    found = {each.weights: summary(each.scores) for each in evaluated}
    return json.dumps(next(iter(found.values())) if len(found) == 1 else {"weights": found})


def as_text(evaluated: Sequence[Evaluated]) -> str:
    """A table for a terminal: one row a family and model, the best baseline beside it."""
    header = f"{'family':<24}{'weights':<20}{'n':>5}{'Dice':>8}{'quartiles':>16}{'prompted':>10}{'in extent':>11}{'NSD':>8}  best baseline"
    lines = [header]
    for each in evaluated:
        figures = summary(each.scores)
        families = figures["families"]
        assert isinstance(families, dict)
        for name, row in families.items():
            lines.append(_row(name, each.weights, row))
            lines += [_row(f"  {shape}", "", row[shape]) for shape in ("compact", "thin_or_concave") if shape in row]
        lines.append(f"{each.weights}: {figures['slices_per_second']} slices/s for one object")
    return "\n".join([*lines, "AI result, not for diagnosis."])


def write_report(folder: Path, evaluated: Sequence[Evaluated]) -> None:
    """Write scores.csv, summary.json and one sheet-N.png a model into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.csv").write_text(as_csv(evaluated), encoding="utf-8")
    (folder / "summary.json").write_text(as_json(evaluated) + "\n", encoding="utf-8")
    for number, each in enumerate(evaluated, start=1):
        (folder / f"sheet-{number}.png").write_bytes(picture_sheet(each))


def as_csv(evaluated: Sequence[Evaluated]) -> str:
    """One row a structure, case and model."""
    buffer = io.StringIO()
    names = [name for name in Score.__dataclass_fields__ if name != "baselines"]
    writer = csv.DictWriter(buffer, ["weights", *names, *BASELINES], lineterminator="\n")
    writer.writeheader()
    for each in evaluated:
        for score in each.scores:
            row = asdict(score)
            writer.writerow({"weights": each.weights, **row.pop("baselines"), **row})
    return buffer.getvalue()


def picture_sheet(evaluated: Evaluated) -> bytes:
    """A PNG with the worst, the median and the best object of every family, by 3-D Dice, each on two slices; truth in white."""
    panels: list[Panel] = []
    for family in dict.fromkeys(score.family for score in evaluated.scores):
        order = sorted((n for n, score in enumerate(evaluated.scores) if score.family == family), key=lambda n: evaluated.scores[n].dice)
        chosen = {order[-1]: "best", order[0]: "worst", order[len(order) // 2]: "median"}  # of one object, that it is the median
        for n in sorted(chosen, key=order.index):
            panels += _panels(chosen[n], evaluated.scores[n], evaluated.views[n])
    return as_png(draw_panels(panels, PANELS_A_ROW_OF_SHEET))


def _panels(title: str, score: Score, view: View) -> list[Panel]:
    """The part about the object of its two slices."""
    shown = _about(np.any(view.mask | view.truth, axis=0))
    places = ("prompted", "halfway to its end")
    return [
        Panel(
            label=f"{title} {score.dice:.2f} {score.structure}",
            facts=f"{score.family}, slice {number + 1}: {place}",
            grey=frame[shown],
            mask=mask[shown],
            truth=truth[shown],
        )
        for place, number, frame, mask, truth in zip(places, view.slices, view.frames, view.mask, view.truth, strict=True)
    ]


def _about(area: Mask) -> tuple[slice, slice]:
    """The square about an area (row, column), SURROUNDINGS times its longer side, as far as the frame reaches."""
    left, top, right, bottom = box_of(area)
    half = SURROUNDINGS * max(right - left + 1, bottom - top + 1) / 2
    middles = ((top + bottom) / 2, (left + right) / 2)
    rows, columns = (slice(max(0, round(middle - half)), round(middle + half) + 1) for middle in middles)
    return rows, columns


def _row(name: str, weights: str, row: Mapping[str, object]) -> str:
    baselines, quartiles = row["baselines"], row["quartiles_dice"]
    assert isinstance(baselines, dict)
    assert isinstance(quartiles, list)
    best = max(baselines, key=lambda key: baselines[key])
    spread = f"{quartiles[0]:.3f}..{quartiles[1]:.3f}"
    dices = f"{row['median_dice']:>8.3f}{spread:>16}{row['median_dice_prompted']:>10.3f}{row['median_dice_in_extent']:>11.3f}"
    return f"{name:<24}{weights[-19:]:<20}{row['n']:>5}{dices}{row['median_nsd']:>8.3f}  {baselines[best]:.3f} {best}"
