"""A folder of DICOM as what is asked of the journey: a request for each image series, with its study and earlier studies around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from daemon.annotation_objects import is_annotation_object
from daemon.contest import contestant_of, decide
from daemon.errors import ConfigError
from daemon.planning import matched_parts
from daemon.priors import same_patient
from daemon.request import SeriesRequest
from dicom_io.errors import NotDicom, RejectedInput
from dicom_io.instance import InstanceHeader
from dicom_io.series import find_instances, group_by_series, judge_series
from model.prompt import BoxPrompt
from rules.rule import RuleSet
from rules.selection import Ranked


@dataclass(frozen=True, kw_only=True)
class Sender:
    """How a study was, or would be, sent; rules can ask for it."""

    calling_ae_title: str = ""
    called_ae_title: str = ""
    source_address: str = ""


NOBODY = Sender()
Groups = Mapping[str, tuple[InstanceHeader, ...]]


def read_folder(place: Path) -> Groups:
    """Return the headers of a folder's instances by Series Instance UID. Raises ConfigError where there is no such place, NotDicom."""
    if not place.exists():
        raise ConfigError(f"{place}: no such file or folder")
    groups = group_by_series(find_instances(place))
    if not groups:
        raise NotDicom(f"{place}: no DICOM instance found; give a folder of DICOM files")
    return groups


def is_input_alone(headers: Sequence[InstanceHeader]) -> bool:
    """Whether a series holds annotation objects alone: an input of others, and no image."""
    return all(is_annotation_object(header) for header in headers)


def request_for(
    headers: Sequence[InstanceHeader], groups: Groups, sender: Sender = NOBODY, boxes: tuple[BoxPrompt, ...] = ()
) -> SeriesRequest:
    """Return the request for one of the series in `groups`. Raises RejectedInput where it is none."""
    study = {header.study_instance_uid for header in headers}
    others = [header for group in groups.values() if group is not headers for header in group]
    newest = max(header.path.stat().st_mtime for header in headers)
    return SeriesRequest(
        series=judge_series(headers),
        calling_ae_title=sender.calling_ae_title,
        called_ae_title=sender.called_ae_title,
        source_address=sender.source_address,
        # The files' own age, not the present moment: a rerun on the same files gives the same bytes.
        created=datetime.fromtimestamp(int(newest), UTC),
        boxes=boxes,
        study=tuple(header for header in others if header.study_instance_uid in study),
        earlier=tuple(header for header in others if header.study_instance_uid not in study and same_patient(header, headers[0])),
    )


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The series of one study that one rule may take, and their ranking, the chosen one first."""

    study_instance_uid: str
    rule: str
    ranking: tuple[Ranked, ...]

    def reason_against(self, series_instance_uid: str) -> str | None:
        """Return why a series that took part was not chosen; None for the chosen one and for those that took no part."""
        found = next((one for one in self.ranking if one.key == series_instance_uid), None)
        if found is None or found.place == 1:
            return None
        return f"rule {self.rule!r} takes the best series of a study, and {self.ranking[0].key} is better ({found.reason})"


def contests(requests: Sequence[SeriesRequest], ruleset: RuleSet) -> tuple[Contest, ...]:
    """Rank the series of each study for each rule that takes only the best one."""
    found: dict[tuple[str, str], dict[str, SeriesRequest]] = {}
    taking_part = {}
    for request in requests:
        contestant = contestant_of(matched_parts(request, ruleset))
        if contestant is not None:
            series = request.series
            found.setdefault((series.study_instance_uid, contestant.rule), {})[series.series_instance_uid] = request
            taking_part[series.series_instance_uid] = contestant
    return tuple(
        Contest(
            study_instance_uid=study,
            rule=rule,
            ranking=decide(taking_part[next(iter(members))], {uid: taking_part[uid].measures for uid in members}, ()),
        )
        for (study, rule), members in found.items()
    )


def readable_requests(groups: Groups, sender: Sender = NOBODY) -> Iterator[SeriesRequest]:
    """Yield a request for each image series that can be judged at all."""
    for headers in groups.values():
        if not is_input_alone(headers):
            try:
                yield request_for(headers, groups, sender)
            except RejectedInput:
                continue  # whoever asks for this series alone is told why
