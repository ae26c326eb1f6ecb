"""`medsam2d inspect`: what is in a folder of DICOM: volumes, their geometry and oddities, and what is refused and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom import uid
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.folder_study import read_folder
from dicom_io.codecs import CODECS
from dicom_io.errors import RejectedInput
from dicom_io.frame_reader import read_frames
from dicom_io.geometry import plane_name, spacing_mm
from dicom_io.instance import InstanceHeader
from dicom_io.series import Series, judge_series
from dicom_io.slice_stack import Refused, SliceStack, headers_of
from dicom_io.volume_reader import read_or_refuse

Verdict = Literal["volume", "cine", "refused"]
IDENTIFYING = ("PatientName", "PatientID", "StudyDate", "StudyDescription", "SeriesDescription")
"""Shown only when asked for: descriptions are free text, in which anything may stand."""
_STYLES: Mapping[Verdict, str] = {"volume": "bold green", "cine": "bold cyan", "refused": "bold red"}


@dataclass(frozen=True, kw_only=True)
class InspectedVolume:
    """One volume: its grid, and what is unusual about it but handled."""

    shape_kji: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    plane: str
    quirks: tuple[str, ...]
    split: str
    decoder: str


@dataclass(frozen=True, kw_only=True)
class InspectedSeries:
    """One series and what becomes of it."""

    series_instance_uid: str
    modality: str
    instances: int
    verdict: Verdict
    code: str
    """Of the reason, where the series is refused."""
    reason: str
    """Why it is refused, or what of it is left out."""
    volumes: tuple[InspectedVolume, ...]
    pictures: tuple[str, ...]
    identity: Mapping[str, str]


def inspect_folder(place: Path, *, pixels: bool = False) -> tuple[InspectedSeries, ...]:
    """Judge every series below `place`, by headers alone or, with `pixels`, after decoding every image too.

    Raises ConfigError if there is no such place, NotDicom if it holds no DICOM instance.
    """
    return tuple(_inspected(judge_series(headers), pixels=pixels) for headers in read_folder(place).values())


def as_json(found: Sequence[InspectedSeries], *, identify: bool) -> str:
    """Return one line of JSON; identifying attributes only where they were asked for."""
    return json.dumps({"series": [_plain(series, identify=identify) for series in found]})


def show(found: Sequence[InspectedSeries], console: Console, *, identify: bool) -> None:
    """Print a table for people."""
    table = Table(show_lines=True, header_style="bold", caption=_summary(found), caption_justify="left")
    table.add_column("series", ratio=2, overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("verdict")
    table.add_column("what was found", ratio=5, overflow="fold")
    for series in found:
        table.add_row(
            _heading(series, identify=identify),
            str(series.instances),
            Text(series.verdict, style=_STYLES[series.verdict]),
            _findings(series),
        )
    console.print(table)


def _inspected(series: Series, *, pixels: bool) -> InspectedSeries:
    volumes, refused = _volumes(series.stacks, pixels=pixels)
    pictures, unreadable = _pictures(series.pictures, pixels=pixels)
    left_out = [*refused, *series.refused, *unreadable]
    verdict: Verdict = "volume" if volumes else "cine" if pictures else "refused"
    worst = max(left_out, key=lambda one: len(one.headers), default=None)
    return InspectedSeries(
        series_instance_uid=series.series_instance_uid,
        modality=series.modality,
        instances=len(series.headers),
        verdict=verdict,
        code=worst.error.code if worst and verdict == "refused" else "",
        reason=str(worst.error) if worst and verdict == "refused" else "; ".join(f"left out: {one.reason}" for one in left_out),
        volumes=tuple(volumes),
        pictures=tuple(pictures),
        identity={keyword: str(series.headers[0].dataset.get(keyword) or "") for keyword in IDENTIFYING},
    )


def _volumes(stacks: Sequence[SliceStack], *, pixels: bool) -> tuple[list[InspectedVolume], list[Refused]]:
    volumes, refused = [], []
    for stack in stacks:
        quirks = stack.quirks
        if pixels:
            volume = read_or_refuse(stack)
            if isinstance(volume, Refused):
                refused.append(volume)
                continue
            quirks = volume.quirks
        volumes.append(_volume(stack, quirks))
    return volumes, refused


def _volume(stack: SliceStack, quirks: tuple[str, ...]) -> InspectedVolume:
    dk, dj, di = (round(spacing, 6) for spacing in spacing_mm(stack.affine))
    return InspectedVolume(
        shape_kji=(len(stack.frames), *stack.shape),
        spacing_mm=(dk, dj, di),
        plane=plane_name(stack.affine),
        quirks=quirks,
        split=stack.split,
        decoder=_decoders(headers_of(stack.sent)),
    )


def _pictures(headers: Sequence[InstanceHeader], *, pixels: bool) -> tuple[list[str], list[Refused]]:
    pictures, unreadable = [], []
    for header in headers:
        if pixels:
            try:
                read_frames(header)
            except RejectedInput as error:
                unreadable.append(Refused(error=error, headers=(header,), attributes={}))
                continue
        rows, columns = header.dataset.get("Rows"), header.dataset.get("Columns")
        what = f"cine of {header.number_of_frames} frames" if header.number_of_frames > 1 else "single picture"
        pictures.append(f"{what}, {rows} x {columns}, {_decoders([header])}")
    return pictures, unreadable


def _decoders(headers: Iterable[InstanceHeader]) -> str:
    """Every transfer syntax with the package that decodes it."""
    syntaxes = dict.fromkeys(header.transfer_syntax_uid for header in headers)
    return "; ".join(f"{uid.UID(syntax).name} by {CODECS[syntax].package}" for syntax in syntaxes)


def _plain(series: InspectedSeries, *, identify: bool) -> dict[str, object]:
    return {
        "series_instance_uid": series.series_instance_uid,
        "modality": series.modality,
        "instances": series.instances,
        "verdict": series.verdict,
        "code": series.code,
        "reason": series.reason,
        "volumes": [
            {
                "shape_kji": list(volume.shape_kji),
                "spacing_mm": list(volume.spacing_mm),
                "plane": volume.plane,
                "quirks": list(volume.quirks),
            }
            for volume in series.volumes
        ],
        **({"identity": dict(series.identity)} if identify else {}),
    }


def _heading(series: InspectedSeries, *, identify: bool) -> Text:
    text = Text.assemble((series.modality or "?", "bold"), " ", (series.series_instance_uid, "dim"))
    if identify:
        text.append("\n" + "\n".join(value for value in series.identity.values() if value))
    return text


def _findings(series: InspectedSeries) -> Text:
    lines: list[Text] = []
    for volume in series.volumes:
        shape, spacing = " x ".join(map(str, volume.shape_kji)), " x ".join(f"{mm:.4g}" for mm in volume.spacing_mm)
        lines.append(Text.assemble((f"{shape}", "bold"), f", {spacing} mm, {volume.plane}"))
        lines += [Text(f"  {line}", style=style) for line, style in ((volume.split, "cyan"), (volume.decoder, "dim")) if line]
        if volume.quirks:
            lines.append(Text(f"  {', '.join(volume.quirks)}", style="yellow"))
    lines += [Text(picture) for picture in series.pictures]
    if series.reason:
        lines.append(Text(f"[{series.code}] {series.reason}" if series.code else series.reason))
    return Text("\n").join(lines)


def _summary(found: Sequence[InspectedSeries]) -> str:
    volumes = sum(len(series.volumes) for series in found)
    refused = sum(series.verdict == "refused" for series in found)
    return f"{len(found)} series, {volumes} volumes, {refused} series refused. Codes and quirks: docs/inputs.md, docs/troubleshooting.md"
