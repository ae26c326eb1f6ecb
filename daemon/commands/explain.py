"""`medsam2d rules explain`: what the rules make of a folder of DICOM, or of a study in the store, and why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.annotations import read_study
from daemon.audit import open_audit
from daemon.commands.common import existing_store
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.explanation import Depth, ExplainedVolume, Explanation, explain
from daemon.explanation_sheet import as_html
from daemon.folder_study import Groups, Sender, read_folder
from daemon.store import SeriesState
from dicom_io.series import group_by_series
from rules.rule import RuleSet

UID = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What was asked for, read: headers by series, and how each series was, or would be, sent."""

    groups: Groups
    senders: Mapping[str, Sender]


def read_place(place: str, settings: Config, sender: Sender) -> Explained:
    """Return the series of a folder, or of a study in the store by its UID.

    Raises ConfigError where it is neither, NotDicom for a folder without DICOM.
    """
    if Path(place).exists():
        groups = read_folder(Path(place))
        return Explained(groups=groups, senders=dict.fromkeys(groups, sender))
    if not UID.fullmatch(place):
        raise ConfigError(f"{place}: expected a folder of DICOM, or the Study Instance UID of a study that was received; there is neither")
    return _read_study(place, settings)


def run(explained: Explained, ruleset: RuleSet, depth: Depth) -> Explanation:
    """Explain what was read."""
    return explain(explained.groups, explained.senders, ruleset, depth)


def write_sheet(explanation: Explanation, path: Path) -> None:
    """Write the sheet, readable by this user alone; it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(as_html(explanation))
    partial.replace(path)


def as_json(explanation: Explanation) -> str:
    """Return one line of JSON, without the pictures."""
    series = []
    for one in explanation.series:
        plain = asdict(one)
        for volume in plain["volumes"]:
            del volume["pictures"]
        series.append(plain)
    return json.dumps({"rules": explanation.rules, "series": series, "contests": [asdict(contest) for contest in explanation.contests]})


def show(explanation: Explanation, console: Console) -> None:
    """Print a short table: a row a volume, with its rule and prompts, or with why each rule says no."""
    table = Table(header_style="bold", show_lines=True)
    table.add_column("series", ratio=2, overflow="fold")
    table.add_column("volume", ratio=2, overflow="fold")
    table.add_column("rule", ratio=1, overflow="fold")
    table.add_column("what follows", ratio=4, overflow="fold")
    for series in explanation.series:
        heading = Text.assemble((series.modality or "?", "bold"), f" {series.instances} ", (series.series_instance_uid, "dim"))
        if series.description:
            heading.append(f"\n{series.description}")
        if not series.volumes:
            table.add_row(heading, "", "", Text(series.outcome))
        for volume in series.volumes:
            colour = "green" if volume.objects else "yellow"
            table.add_row(heading, Text(volume.name or volume.grid), Text(volume.rule or "none", style=colour), _what_follows(volume))
    console.print(table)
    for contest in explanation.contests:
        console.print(Text(f"best series of study {contest.study_instance_uid} for rule {contest.rule!r}:"))
        for ranked in contest.ranking:
            console.print(Text(f"  {ranked.place}. {ranked.key}  {ranked.words}" + (f"  ({ranked.reason})" if ranked.reason else "")))


def _what_follows(volume: ExplainedVolume) -> Text:
    lines = [volume.outcome]
    lines += [f"{item.label} by {item.recipe}, slice {', '.join(map(str, item.slices))}" for item in volume.objects]
    lines += volume.missing
    if volume.rule is None:
        for rule in volume.rules:
            against = next((finding.words for finding in rule.findings if not finding.holds), rule.outcome)
            lines.append(f"{rule.name}: {against}")
    return Text("\n".join(lines))


def _read_study(uid: str, settings: Config) -> Explained:
    with existing_store(settings) as store:
        series = [one for one in store.waiting_series(SeriesState) if one.study_instance_uid == uid]
        paths = [path for one in series for path in store.series_paths(one) if path.exists()]
    if not paths:
        raise ConfigError(f"{uid}: the store has no files of such a study; `medsam2d jobs list --study UID` shows what became of it")
    open_audit(settings.folders.audit).study_explained(uid)
    senders = {
        one.series_instance_uid: Sender(
            calling_ae_title=one.calling_ae_title, called_ae_title=one.called_ae_title, source_address=one.source_address
        )
        for one in series
    }
    groups = group_by_series(read_study(paths))
    return Explained(groups=groups, senders={series_uid: senders.get(series_uid, Sender()) for series_uid in groups})
