"""Delivery: what waits in the outbox goes to its destination; only what the destination confirmed counts as delivered.

One round claims what is due for one destination, sends it in one session, and asks for its confirmation:

    PENDING --stored--> STORED --confirmed--> DELIVERED
       |                   `--the destination does not have it--> PENDING
       |--cannot be sent now--> PENDING, after a backoff, for ever
       `--will never be taken--> the next form, else LEFT_OUT (optional) or QUARANTINED

docs/delivery.md says what each answer of a destination leads to.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar, Protocol, cast

from daemon.chaos_points import reach
from daemon.clock import Clock
from daemon.commitment_reports import ReportKeeper, ReportObserver
from daemon.errors import Disposition, Transient, classify
from daemon.route import Confirmation, ConfirmingSession, Route, Session
from daemon.store import Delivery, LeaseLost, OutboxState, Store, WorkerIdentity
from dicom_io.errors import ContextsRefused, NotDicom
from dicom_io.sender import Moment, Outgoing, SendResult, class_refused, read_outgoing
from dicom_io.store_status import Outcome

LOG = logging.getLogger(__name__)
REFUSAL_IS_REMEMBERED = timedelta(hours=24)
"""For so long what a destination refused is not offered again where another form exists; archives are upgraded, so not for ever."""
QUERY_TIMEOUT_SECONDS = 3600.0
"""An object that a destination stored and does not find after so long is sent again."""


class DeliveryObserver(ReportObserver, Protocol):
    """Hears of every outcome, for the audit trail and the metrics."""

    def sending(self, delivery: Delivery) -> None:
        """Its bytes go out next."""

    def stored(self, delivery: Delivery, remark: str) -> None:
        """The destination answered that it is stored, perhaps with a remark."""


class ResultDamaged(Transient):
    """The file of a result is gone or has other bytes; it waits for a person to restore it, or to cancel the job."""

    code: ClassVar[str] = "result-damaged"


class NotFoundYet(Transient):
    """The destination stored the object and does not find it; it may still be at work."""

    code: ClassVar[str] = "not-found-yet"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a round of delivery works with."""

    store: Store
    clock: Clock
    observer: DeliveryObserver
    worker: WorkerIdentity
    is_stopping: Callable[[], bool] = lambda: False


def deliver_due(destination: str, route: Route, desk: Desk) -> int:
    """Do one round for one destination and return how many of its items changed for the better.

    Whatever goes wrong is kept with the items and tried again after their backoff.
    """
    claimed = desk.store.claim_deliveries(desk.worker, destination)
    if not claimed:
        return 0
    reach("delivery.claimed")
    work = Round(destination=destination, desk=desk, left={delivery.id: delivery for delivery in claimed})
    work.put_damaged_aside()
    work.use_other_forms()
    if not work.left:
        return work.done
    try:
        work.visit(route)
    except ContextsRefused:
        work.refuse_all()
    except Exception as error:  # noqa: BLE001  # the delivery loop's boundary: a dead destination never stops the others
        judged = classify(error)
        LOG.warning("%s: %d results wait, %d went well [%s] %s", destination, len(work.left), work.done, judged.code, judged.message)
        work.postpone_all(judged)
    return work.done


@dataclass(kw_only=True)
class Round:
    """The items that one process claimed for one destination; what is settled leaves `left`."""

    destination: str
    desk: Desk
    left: dict[int, Delivery]
    done: int = 0
    _outgoing: dict[int, Outgoing] = field(default_factory=dict)
    _sent: dict[str, SendResult] = field(default_factory=dict)

    def put_damaged_aside(self) -> None:
        """Postpone what does not have the bytes that were made; read the file meta of the others."""
        for delivery in tuple(self.left.values()):
            try:
                expect_whole(delivery)
                self._outgoing[delivery.id] = read_outgoing(delivery.path)
            except (ResultDamaged, NotDicom) as error:
                self._postpone(delivery, classify(error))

    def use_other_forms(self) -> None:
        """Pass over what the destination is known to refuse, where it can have another form or do without."""
        known = self.desk.store.capability(self.destination, REFUSAL_IS_REMEMBERED)
        for delivery in self._in_state(OutboxState.PENDING):
            item = self._outgoing[delivery.id]
            refused = known.get((item.sop_class_uid, item.transfer_syntax_uid)) is False
            if refused and (delivery.optional or self.desk.store.has_spare(delivery)):
                self._refuse(delivery, class_refused(self.destination, item))

    def visit(self, route: Route) -> None:
        """Open one session, send what is PENDING and confirm what is STORED."""
        keep = ReportKeeper(store=self.desk.store, observer=self.desk.observer)
        overdue = any(delivery.requested_at is not None for delivery in self.left.values())
        items = list({item.path: item for item in (self._outgoing[key] for key in self.left)}.values())
        with route.open(items, overdue=overdue, keep=keep, reached=_reach_moment) as session:
            for delivery in self._in_state(OutboxState.PENDING):
                if self.desk.is_stopping():
                    self._settle(delivery, self.desk.store.return_unsent)
                else:
                    self._send(session, delivery)
            self._confirm(session)

    def refuse_all(self) -> None:
        """The destination takes nothing of what was proposed."""
        for delivery in self._in_state(OutboxState.PENDING):
            self._refuse(delivery, class_refused(self.destination, self._outgoing[delivery.id]))
        waits = "the destination accepts no presentation context in which its confirmation could be asked for; see docs/delivery.md"
        self.postpone_all(classify(Transient(f"{self.destination}: {waits}")))

    def postpone_all(self, why: Disposition) -> None:
        """Try all that is left again later."""
        for delivery in tuple(self.left.values()):
            self._postpone(delivery, why)

    def _in_state(self, state: OutboxState) -> tuple[Delivery, ...]:
        return tuple(delivery for delivery in self.left.values() if delivery.state is state)

    def _send(self, session: Session, delivery: Delivery) -> None:
        item = self._outgoing[delivery.id]
        if not self._settle(delivery, self.desk.store.prolong, keep=True):
            return
        self.desk.observer.sending(delivery)
        # Two jobs may have made the very same object: it goes out once.
        result = self._sent.get(item.sop_instance_uid) or session.send(item)
        self._sent[item.sop_instance_uid] = result
        if result.outcome is Outcome.STORED:
            self._keep_stored(session, delivery, result)
        elif result.outcome is Outcome.TRANSIENT:
            self._postpone(delivery, classify_result(result))
        else:
            self._refuse(delivery, result)

    def _keep_stored(self, session: Session, delivery: Delivery, result: SendResult) -> None:
        self.desk.observer.stored(delivery, result.reason)
        if session.confirmation is Confirmation.ANSWER:
            self._deliver(delivery)
        elif self._settle(delivery, self.desk.store.stored, keep=True):
            self.left[delivery.id] = replace(delivery, state=OutboxState.STORED, stored_at=self.desk.clock(), requested_at=None)
            reach("delivery.stored-kept")

    def _confirm(self, session: Session) -> None:
        stored = self._in_state(OutboxState.STORED)
        if session.confirmation is Confirmation.ANSWER:
            for delivery in stored:
                self._deliver(delivery)
        elif stored:
            confirming = cast(ConfirmingSession, session)  # no other route has another confirmation than the answer
            self._find(confirming, stored) if session.confirmation is Confirmation.QUERY else self._commit(confirming, stored)

    def _find(self, session: ConfirmingSession, stored: tuple[Delivery, ...]) -> None:
        found = session.found([self._outgoing[delivery.id] for delivery in stored])
        for delivery in stored:
            if delivery.sop_instance_uid in found:
                self._deliver(delivery)
                continue
            waited = (self.desk.clock() - (delivery.stored_at or self.desk.clock())).total_seconds()
            message = (
                f"{self.destination}: expected to find {delivery.sop_instance_uid}, which it stored {waited:.0f} s ago, got no such object"
            )
            if waited > QUERY_TIMEOUT_SECONDS:
                self._send_again(delivery, f"{message}; it is sent again")
            else:
                self._postpone(delivery, classify(NotFoundYet(f"{message}; it is asked again")))

    def _commit(self, session: ConfirmingSession, stored: tuple[Delivery, ...]) -> None:
        overdue = [delivery for delivery in stored if delivery.requested_at is not None]
        if overdue and session.offers_query:  # it took the request and never reported: does it at least find them?
            found = session.found([self._outgoing[delivery.id] for delivery in overdue])
            for delivery in overdue:
                if delivery.sop_instance_uid in found:
                    self._deliver(delivery)
        waiting = self._in_state(OutboxState.STORED)
        if not waiting:
            return
        for delivery in waiting:
            if delivery.requested_at is not None:
                self.desk.observer.delivery_failed(delivery, "commitment-overdue", f"{self.destination}: no storage commitment report")
        transaction_uid = self.desk.store.begin_commitment(waiting)
        reach("delivery.commitment-begun")
        session.request_commitment(transaction_uid, [self._outgoing[delivery.id] for delivery in waiting])
        self.desk.store.commitment_requested(transaction_uid, session.commitment_timeout_seconds)
        for delivery in waiting:
            self.left.pop(delivery.id)
        self.done += len(waiting)
        session.await_report(transaction_uid)

    def _deliver(self, delivery: Delivery) -> None:
        if self._settle(delivery, self.desk.store.delivered):
            self.done += 1
            reach("delivery.delivered-kept")
            self.desk.observer.delivered(delivery)

    def _refuse(self, delivery: Delivery, result: SendResult) -> None:
        item = self._outgoing[delivery.id]
        if result.outcome is Outcome.CLASS_REFUSED:
            self.desk.store.keep_capability(self.destination, {(item.sop_class_uid, item.transfer_syntax_uid): False})
        code = classify_result(result).code
        states: list[OutboxState] = []
        if self._settle(delivery, lambda claimed: states.append(self.desk.store.refused(claimed, code, result.reason))):
            self.done += 1  # something else may be due at once
            self.desk.observer.delivery_refused(delivery, states[0], code, result.reason)

    def _postpone(self, delivery: Delivery, why: Disposition) -> None:
        if self._settle(delivery, lambda claimed: self.desk.store.postpone(claimed, why.code, why.message)):
            self.desk.observer.delivery_failed(delivery, why.code, why.message)

    def _send_again(self, delivery: Delivery, message: str) -> None:
        if self._settle(delivery, lambda claimed: self.desk.store.send_again(claimed, "not-found", message)):
            self.desk.observer.delivery_failed(delivery, "not-found", message)

    def _settle(self, delivery: Delivery, act: Callable[[Delivery], object], *, keep: bool = False) -> bool:
        """Write an outcome; False, and it leaves the round, where the item is no longer ours."""
        try:
            act(delivery)
        except LeaseLost as error:
            LOG.warning("%s", error)
            self.left.pop(delivery.id, None)
            return False
        if not keep:
            self.left.pop(delivery.id, None)
        return True


def classify_result(result: SendResult) -> Disposition:
    """Return the stable code of an answer that is no success, with its message."""
    codes = {Outcome.CLASS_REFUSED: "class-refused", Outcome.PERMANENT: "object-refused"}
    why = classify(Transient(result.reason))
    return Disposition(fault=why.fault, code=codes.get(result.outcome, "store-refused"), message=result.reason)


def expect_whole(delivery: Delivery) -> None:
    """Raise ResultDamaged unless a result's file holds the bytes that were made."""
    try:
        with delivery.path.open("rb") as stream:
            found = f"SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        found = error.strerror or str(error)
    expected = f"SHA-256 {delivery.sha256}"
    if found != expected:
        cure = f"restore the file, or remove it, then cancel and release job {delivery.job_id} to make the result anew"
        raise ResultDamaged(f"{delivery.path}: expected {expected}, got {found}; {cure}")


def _reach_moment(moment: Moment) -> None:
    reach(f"delivery.{moment.value}")
