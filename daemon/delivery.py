"""Delivery: what waits in the outbox goes to its destinations; only what a destination confirmed counts as delivered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from daemon.errors import Disposition, Transient, classify
from daemon.store import Delivery, LeaseLost, Store, WorkerIdentity, this_process

LOG = logging.getLogger(__name__)


class Sent(Protocol):
    """What the sender says of a file that the destination stored (`dicom_io.sender.SendResult`)."""

    @property
    def path(self) -> Path:
        """The file that was sent."""


Send = Callable[[str, Sequence[Path]], Sequence[Sent]]
"""Sends files to the destination of this name and returns what was stored; an error may hold that in its `results`."""


class DeliveryObserver(Protocol):
    """Hears of every outcome, for the audit trail and the metrics."""

    def delivered(self, delivery: Delivery) -> None:
        """The destination confirmed it, and the store knows."""

    def delivery_failed(self, delivery: Delivery, code: str, message: str) -> None:
        """It is tried again later."""


class ResultDamaged(Transient):
    """The file of a result is gone or has other bytes; it waits for a person to restore it, or to cancel the job."""

    code: ClassVar[str] = "result-damaged"


class NotConfirmed(Transient):
    """The sender came back without an error and without a confirmation of this file."""

    code: ClassVar[str] = "not-confirmed"


def deliver_once(store: Store, send: Send, observer: DeliveryObserver, worker: WorkerIdentity | None = None) -> int:
    """Send what is due, one association a destination, and return how many results were confirmed.

    Whatever goes wrong with one destination or file is kept with it and tried again after its backoff; the others go on.
    `worker` is who sends; absent: this process.
    """
    sender = worker or this_process("delivery")
    return sum(_deliver_to(store.claim_deliveries(sender, name), store, send, observer) for name in store.due_destinations())


def _deliver_to(claimed: Sequence[Delivery], store: Store, send: Send, observer: DeliveryObserver) -> int:
    failures = {delivery.id: damage for delivery in claimed if (damage := _damage(delivery)) is not None}
    confirmed, failure = _send(send, [delivery for delivery in claimed if delivery.id not in failures])
    count = 0
    for delivery in claimed:
        if delivery.id not in failures and delivery.path in confirmed:
            count += _keep_success(store, delivery, observer)
        else:
            _keep_failure(store, delivery, failures.get(delivery.id, failure), observer)
    return count


def _send(send: Send, deliveries: Sequence[Delivery]) -> tuple[frozenset[Path], Disposition]:
    """Send to the one destination of all `deliveries`; return the files that it stored, and why the others were not."""
    destination = deliveries[0].destination if deliveries else "nowhere"
    paths = list(dict.fromkeys(delivery.path for delivery in deliveries))  # two jobs may have made the very same object
    failure: Exception = NotConfirmed(f"{destination}: expected a confirmation, got none")
    sent: Sequence[Sent] = ()
    if paths:
        try:
            sent = send(destination, paths)
        except Exception as error:  # noqa: BLE001  # the delivery loop's boundary: a dead destination never stops the others
            failure = error
            sent = getattr(error, "results", ())
            LOG.warning("%s: %d results, of which %d were stored: %s", destination, len(paths), len(sent), error)
    return frozenset(result.path for result in sent), classify(failure)


def _damage(delivery: Delivery) -> Disposition | None:
    """Say what is wrong with a result's file, None if it holds the bytes that were made."""
    try:
        with delivery.path.open("rb") as stream:
            found = f"SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError as error:
        found = error.strerror or str(error)
    expected = f"SHA-256 {delivery.sha256}"
    if found == expected:
        return None
    cure = f"restore the file, or remove it, then cancel and release job {delivery.job_id} to make the result anew"
    return classify(ResultDamaged(f"{delivery.path}: expected {expected}, got {found}; {cure}"))


def _keep_success(store: Store, delivery: Delivery, observer: DeliveryObserver) -> int:
    try:
        store.delivered(delivery)
    except LeaseLost as error:
        LOG.warning("it was stored by the destination, but: %s", error)
        return 0
    observer.delivered(delivery)
    return 1


def _keep_failure(store: Store, delivery: Delivery, why: Disposition, observer: DeliveryObserver) -> None:
    try:
        store.postpone(delivery, why.code, why.message)
    except LeaseLost as error:
        LOG.warning("it was not sent, and: %s", error)
        return
    observer.delivery_failed(delivery, why.code, why.message)
