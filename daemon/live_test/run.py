"""Does the whole way work, here and now? A phantom is sent as a scanner would send, and followed to its end."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import typer

from daemon.audit_chain import FILES, AuditRecord, Json, records_of
from daemon.clock import Clock, system_clock
from daemon.commands.common import existing_store
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.folder_study import Sender
from daemon.live_test.follow import Ending, Step, ending_of, steps_of
from daemon.live_test.forecast import Forecast, address_towards, expect_admission, expect_named, forecast, own_listener
from daemon.live_test.study import PATIENT_ID, PATIENT_NAME, LiveStudy, write_study
from dicom_io.errors import PeerError
from dicom_io.sender import store as store_files


@dataclass(frozen=True, kw_only=True)
class SendTestRequest:
    """What a person asks for."""

    calling_ae_title: str
    called_ae_title: str | None
    named: tuple[str, ...]
    """Destinations that may get a result of the test."""
    timeout_seconds: float


class Report:
    """Tells each step when it comes, or keeps all for one line of JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._steps: list[Step] = []
        self._facts: dict[str, object] = {}

    def fact(self, words: str, **facts: object) -> None:
        """Tell something that was so before the test."""
        self._facts |= facts
        if not self._as_json:
            typer.echo(words)

    def step(self, step: Step) -> None:
        """Tell a step."""
        self._steps.append(step)
        if not self._as_json:
            typer.echo(f"{step.at:%H:%M:%S}Z {step.what}")

    def end(self, ending: Ending, **facts: object) -> None:
        """Tell how it ended."""
        if self._as_json:
            steps = [{"at": step.at.isoformat(), "what": step.what} for step in self._steps]
            typer.echo(json.dumps({**asdict(ending), **self._facts, **facts, "steps": steps}))
            return
        typer.echo(f"{'ok  ' if ending.good else 'FAIL'} {ending.words}" + (f"; {ending.cure}" if ending.cure else ""))


def send_test(settings: Config, request: SendTestRequest, *, as_json: bool, clock: Clock = system_clock) -> int:
    """Send the test study and follow it; return 0 where its results are where they belong, else 1.

    Raises ConfigError, and nothing was sent, where the listener would not take it, no rule would, or a result would go to a destination
    that is not named.
    """
    report = Report(as_json=as_json)
    unknown = sorted(set(request.named) - set(settings.destinations))
    if unknown:
        raise ConfigError(f"--to {unknown[0]}: expected one of {', '.join(settings.destinations) or 'no destination at all'}")
    with existing_store(settings) as store, tempfile.TemporaryDirectory(prefix="medsam2d-test-") as folder:
        called = request.called_ae_title or settings.called_ae_titles[0]
        asked = Sender(calling_ae_title=request.calling_ae_title, called_ae_title=called)
        listener = own_listener(settings, asked)
        try:
            sender = Sender(calling_ae_title=request.calling_ae_title, called_ae_title=called, source_address=address_towards(listener))
            expect_admission(settings, sender)
            study = write_study(Path(folder), clock())
            expected = forecast(settings, sender, study)
            expect_named(expected, request.named)
            _tell_before(report, settings, study, expected)
            began = clock()
            store_files(listener, study.paths)
        except PeerError as error:
            cure = "the service reads `listener` when it starts: restart it where that was edited since"
            report.end(Ending(good=False, words=f"[{error.code}] {error}", cure=cure))
            return 1
        place = f"{listener.host}:{listener.port}"
        report.step(
            Step(at=clock(), what=f"sent: {len(study.paths)} instances taken at {place} from {sender.calling_ae_title} for {called}")
        )
        deadline = time.monotonic() + request.timeout_seconds
        for step in steps_of(store, study.study_instance_uid, clock, lambda: time.monotonic() > deadline, time.sleep):
            report.step(step)
        ending = ending_of(store, study.study_instance_uid, expected, clock())
        jobs = store.jobs_of_study(study.study_instance_uid)
        results = [asdict(entry) for job in jobs[-1:] for entry in store.deliveries_of(job)]
    made = _made(settings, study, began)
    for words in made:
        report.fact(words)
    report.end(ending, job=jobs[-1].id if jobs else None, results=results, made=made)
    return 0 if ending.good else 1


def _tell_before(report: Report, settings: Config, study: LiveStudy, expected: Forecast) -> None:
    marks = {"patient_id": PATIENT_ID, "patient_name": PATIENT_NAME, "study_instance_uid": study.study_instance_uid}
    report.fact(
        f"test study: {len(study.paths)} CT slices of a phantom, Patient ID {PATIENT_ID}, Patient's Name {PATIENT_NAME}, "
        f"Study Instance UID {study.study_instance_uid}",
        **marks,
    )
    where = ", ".join(expected.destinations) or f"nobody: they stay in {settings.folders.results}"
    report.fact(f"rule {expected.rule!r} takes it; its results go to {where}", rule=expected.rule, destinations=list(expected.destinations))


def _made(settings: Config, study: LiveStudy, began: datetime) -> list[str]:
    """What the audit trail says was made, where it lies, and how long each stage took."""
    words: list[str] = []
    for record in _records_since(settings.folders.audit, began):
        details = record.details
        if record.event == "segmentation-created" and details.get("study_instance_uid") == study.study_instance_uid:
            uids = [(str(one["kind"]).upper(), str(one["sop_instance_uid"])) for one in _mappings(details.get("objects"))]
            words += [f"{kind}: {settings.folders.results / uid}.dcm" for kind, uid in uids]
            words += [f"{one['label']}: {one['decision']}, {one['volume_ml']} ml" for one in _mappings(details.get("verdicts"))]
            seconds = ", ".join(f"{name} {value}" for one in _mappings([details.get("seconds")]) for name, value in one.items())
            words.append(f"on {details.get('device')}, seconds: {seconds}")
    return words


def _mappings(value: Json) -> list[dict[str, Json]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _records_since(folder: Path, began: datetime) -> Iterator[AuditRecord]:
    for path in sorted(folder.glob(FILES)):
        if path.name >= f"audit-{began:%Y-%m-%d}":
            yield from records_of(path)
