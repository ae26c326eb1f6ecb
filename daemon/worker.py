"""A worker: takes one job at a time from the store, runs the journey, and leaves the outcome where it survives a crash."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from daemon.annotated_studies import queue_again
from daemon.annotation_objects import is_annotation_object
from daemon.annotations import may_want_annotations, read_study
from daemon.audit import Audit
from daemon.chaos_points import reach
from daemon.config import Config
from daemon.earlier_studies import earlier_studies
from daemon.errors import Fault, Transient, classify
from daemon.gate import GateFailure
from daemon.mask_shelf import MaskShelf
from daemon.pipeline import Segmented, segment_series
from daemon.planning import Skipped
from daemon.predecessors import predecessor_object
from daemon.refusals import Refusal
from daemon.request import SeriesRequest
from daemon.result_pictures import ResultPictures
from daemon.rule_tally import RuleTally
from daemon.spool import expect_as_received
from daemon.stages import Stages
from daemon.step_limit import StepLimit
from daemon.store import Job, JobState, LeaseLost, OutboxItem, Predecessor, Results, RuleOutcome, Store, WorkerIdentity
from daemon.tools import ModelRoom, Tools
from daemon.written import ObjectKind, WrittenObject
from dicom_io.series import read_series
from model.errors import DeviceFault
from model.options import PropagationOptions
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.worker")
HEARTBEAT_SECONDS = 10.0
DRAIN_SECONDS = 45.0
"""Less than the supervisor and systemd wait, so that a job is handed back in good order rather than killed."""


SHADOW = "shadow"
"""The code of a job whose results were made in shadow."""
NOWHERE = "none"
"""The destination under which results in shadow are kept where the rule names none."""


class Stopping(Exception):
    """This worker stops before the job is done; it is not the job's fault."""


@dataclass(kw_only=True)
class Worker:
    """Runs jobs until told to stop; `ruleset` may be replaced between jobs."""

    store: Store
    results: Results
    audit: Audit
    models: ModelRoom
    settings: Config
    ruleset: RuleSet
    identity: WorkerIdentity
    alive: Callable[[], None]
    """Told at every heartbeat that the work makes progress."""
    stop: threading.Event
    """Set when this process is to end: the running job gets `drain_seconds` to end before it is handed back."""
    drain_seconds: float = DRAIN_SECONDS
    shelf: MaskShelf | None = None
    """Where masks are kept, so that a crash after inference and a corrected header cost none."""
    pictures: ResultPictures | None = None
    """Where pictures for the status page are kept, if it shows them."""
    _stop_seen: float | None = None

    def work_once(self) -> bool:
        """Run the next job, if there is one; return whether there was."""
        job = self.store.claim_job(self.identity)
        if job is None:
            return False
        reach("worker.claimed")
        LOG.info("job %s attempt %d: series of %d instances", job.id, job.attempt, len(self.store.instance_paths(job)))
        try:
            with self._heartbeat(job):
                self._run(job)
        except LeaseLost:
            LOG.warning("job %s: another worker holds it now; this attempt's outcome is dropped", job.id)
        except Transient as error:
            # Not even the outcome could be written (disk or database): the lease runs out, and the job is claimed again.
            LOG.error("job %s: its outcome could not be kept [%s] %s", job.id, error.code, error)
        return True

    def _run(self, job: Job) -> None:
        stages = Stages()
        try:
            self._work(job, stages)
        except LeaseLost:
            raise
        except Stopping:
            self.store.hand_back(job)
            LOG.info("job %s: handed back, this worker stops", job.id)
        except Exception as error:  # noqa: BLE001  # the worker loop's boundary: one series never ends the worker
            self._failed(job, error)
            if isinstance(error, DeviceFault):
                LOG.error("the accelerator failed; this worker ends, since only a new process can use it again")
                self.stop.set()

    def _work(self, job: Job, stages: Stages) -> None:
        """Keep what each volume of the series gives, one at a time, and finish the job with all of it."""
        items: list[OutboxItem] = []
        reasons: list[str] = []
        reports: list[WrittenObject] = []
        results, shadows = 0, 0
        refusals: list[Refusal] = []
        others, tally = 0, RuleTally()
        predecessors = self.store.predecessors(job)
        superseded = [earlier.sop_instance_uid for earlier in predecessors]
        if self.pictures is not None:
            self.pictures.forget(job.id)
        for outcome in self._segment(job, predecessors, stages):
            if superseded:  # said once there is something in their place, and before that is kept
                self.audit.results_superseded(job, superseded)
                superseded = []
            others += not isinstance(outcome, Refusal)
            tally.add(outcome)
            for_review = [written for written in outcome.written if written.for_review]
            if for_review:
                self.audit.withheld_for_review(job, for_review)
            if isinstance(outcome, Segmented):
                reach("worker.segmented")
                items += self._keep(job, outcome, stages)
                results += not outcome.shadow
                shadows += outcome.shadow
                continue
            reasons += outcome.reasons
            reports += outcome.written
            items += [item for written in outcome.written for item in self._queued(written, shadow=outcome.shadow)]
            if isinstance(outcome, Refusal):
                refusals.append(outcome)
        if refusals and not others:
            error = refusals[0].error
            self._refuse(job, error.code, str(error), reports, items, tally.outcomes())
            return
        if not results:
            words = [*_shadow_words(shadows), *reasons]
            self.audit.job_skipped(job, words, reports)
            self.store.skip(job, tuple(words), items, SHADOW if shadows else "skipped", tally.outcomes())
            LOG.info("job %s: skipped (%s)", job.id, "; ".join(words))
            return
        if reasons:
            self.audit.left_out(job, reasons)
        self.store.finish_with_results(job, items, tally.outcomes())
        reach("worker.finished")
        LOG.info("job %s: %d volume(s), %d left out, after %.1f s", job.id, results, len(reasons), sum(stages.seconds.values()))

    def _segment(self, job: Job, predecessors: Sequence[Predecessor], stages: Stages) -> Iterator[Skipped | Refusal | Segmented]:
        for path, sha256 in self.store.expected_files(job):
            expect_as_received(path, sha256)
        series = read_series(self.store.instance_paths(job))
        if all(is_annotation_object(header) for header in series.headers):
            queue_again(job, series.headers, self.store, self.ruleset, self.audit)
            yield Skipped(reasons=(f"{len(series.headers)} annotation objects: an input of the series whose rule asks for them",))
            return
        study = read_study(self.store.study_paths(job)) if may_want_annotations(self.ruleset) else ()
        if study:
            self.store.note_annotations(job, (header.path for header in study if is_annotation_object(header)))
        request = SeriesRequest(
            series=series,
            calling_ae_title=job.calling_ae_title,
            called_ae_title=job.called_ae_title,
            source_address=job.source_address,
            created=job.created_at,
            partial_reason=job.partial_reason,
            predecessors=tuple(predecessor_object(earlier) for earlier in predecessors),
            study=study,
            earlier=earlier_studies(job, series.headers, self.store, self.ruleset),
        )
        with StepLimit(seconds=self.settings.worker.step_timeout_seconds) as limit:
            tools = Tools(
                ruleset=self.ruleset,
                models=self.models,
                result=self.settings.result,
                stage=stages,
                progress=limit.around(self._progress),
                options=PropagationOptions(),
                shelf=self.shelf,
            )
            yield from segment_series(request, tools)

    def _refuse(
        self,
        job: Job,
        code: str,
        message: str,
        reports: Sequence[WrittenObject] = (),
        items: Sequence[OutboxItem] = (),
        rules: Sequence[RuleOutcome] = (),
    ) -> None:
        """End a job whose images can never be processed; a report may say so where it was asked for."""
        self.store.refuse(job, code, message, items, rules)
        self.audit.job_refused(job, code, message, reports)
        LOG.warning("job %s: refused [%s] %s", job.id, code, message)

    def _keep(self, job: Job, outcome: Segmented, stages: Stages) -> list[OutboxItem]:
        """Put the objects of a volume where they survive a crash; return what is to be sent of them."""
        items = [item for written in outcome.written for item in self._queued(written, shadow=outcome.shadow)]
        reach("worker.results-durable")
        # Said before it is queued for sending: an audit trail may know of a result that a crash kept back, never the reverse.
        made_by = outcome.provenance
        self.audit.segmentation_created(job, made_by, outcome.written, outcome.verdicts, stages.seconds, shadow=outcome.shadow)
        reach("worker.audited")
        if self.pictures is not None:
            self.pictures.keep(job.id, outcome)
        made = ", ".join(f"{written.kind.value.upper()} {written.sop_instance_uid}" for written in outcome.written)
        LOG.info("job %s: %s", job.id, made)
        return items

    def _queued(self, written: WrittenObject, *, shadow: bool) -> list[OutboxItem]:
        """Put an object on disk, in both its forms; return its items for the outbox, which hands them out in this order."""
        forms = [written] if written.alternative is None else [written, written.alternative]
        paths = [self.results.write(f"{form.sop_instance_uid}.dcm", form.part10) for form in forms]
        return [
            OutboxItem(
                destination=name,
                path=path,
                sop_instance_uid=form.sop_instance_uid,
                sha256=form.sha256,
                form_of=written.sop_instance_uid if len(forms) > 1 else "",
                preference=preference,
                optional=form.kind is not ObjectKind.SEG,
                shadow=shadow,
            )
            for name in written.destinations or ((NOWHERE,) if shadow else ())
            if self._takes(name, written.kind)
            for preference, (form, path) in enumerate(zip(forms, paths, strict=True))
        ]

    def _takes(self, destination: str, kind: ObjectKind) -> bool:
        settings = self.settings.destinations.get(destination)
        return settings is None or kind.value in settings.objects

    def _put_aside(self, job: Job, failure: GateFailure) -> None:
        """Keep what did not pass the gate where people can look at it, end the job at once, and raise the alarm."""
        path = self.results.put_aside(f"{failure.sop_instance_uid}.dcm", failure.part10)
        self.audit.result_quarantined(job, failure.code, failure.kind, failure.sop_instance_uid)
        self.store.fail(job, failure.code, f"{failure} (kept in {path})", limit=1)
        LOG.critical("job %s: ALERT: a %s did not pass the gate and was not sent; it is kept in %s", job.id, failure.kind.value, path)

    def _failed(self, job: Job, error: Exception) -> None:
        if isinstance(error, GateFailure):
            self._put_aside(job, error)
            return
        judged = classify(error)
        if judged.fault is Fault.DATA:
            self._refuse(job, judged.code, judged.message)
        elif judged.fault is Fault.BUG:
            state = self.store.fail(job, judged.code, "".join(traceback.format_exception(error)), self.settings.worker.attempts)
            if state is JobState.QUARANTINED:
                self.audit.job_quarantined(job, judged.code)
            # An exception's own words may quote a patient's data: the log gets only where it happened, the store all of it.
            LOG.error(
                "job %s: failed [%s], now %s\n%s", job.id, judged.code, state.value, "".join(traceback.format_tb(error.__traceback__))
            )
        else:
            self.store.retry_later(job, judged.code, judged.message)
            LOG.warning("job %s: will be tried again [%s] %s", job.id, judged.code, judged.message)

    def _progress(self, done: int, total: int) -> None:
        """Called after every slice: where a long job makes room for a stop."""
        if not self.stop.is_set():
            self._stop_seen = None
            return
        self._stop_seen = self._stop_seen or time.monotonic()
        if time.monotonic() - self._stop_seen > self.drain_seconds and done < total:
            raise Stopping

    @contextmanager
    def _heartbeat(self, job: Job) -> Iterator[None]:
        done = threading.Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                try:
                    self.store.heartbeat(job)
                except LeaseLost:
                    return
                except Transient as error:
                    LOG.warning("job %s: a heartbeat was not kept [%s] %s", job.id, error.code, error)
                self.alive()

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _shadow_words(volumes: int) -> list[str]:
    words = f"{volumes} volume(s) segmented in shadow: results are kept and sent to nobody; `jobs retry` sends them once the rule is live"
    return [words] if volumes else []
