"""The route to an archive: C-STORE, and storage commitment or C-FIND as its confirmation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from daemon.destination_settings import DicomDestination
from daemon.route import Confirmation, Keep
from dicom_io.commitment import PUSH_MODEL, CommitmentReport, commitment_context, commitment_handler, request_commitment
from dicom_io.peer import Destination
from dicom_io.proof import STUDY_ROOT_FIND, found_instances, query_context
from dicom_io.sender import Outgoing, Reached, SendResult, StoreSession, open_session


@dataclass(frozen=True, kw_only=True)
class DicomRoute:
    """C-STORE, storage commitment and C-FIND."""

    destination: Destination
    settings: DicomDestination

    @contextmanager
    def open(self, items: Sequence[Outgoing], *, overdue: bool, keep: Keep, reached: Reached) -> Iterator[DicomSession]:
        """Associate for what is to be sent and confirmed."""
        mode = self.settings.commitment
        session: list[DicomSession] = []

        def keep_and_tell(report: CommitmentReport) -> bool:
            kept = keep(report)
            for opened in session:
                opened.heard(report.transaction_uid)
            return kept

        commits = mode in ("auto", "same", "reverse")
        queries = mode == "query" or (mode == "auto" and overdue)
        beside = [*([commitment_context()] if commits else ()), *([query_context()] if queries else ())]
        handlers = [commitment_handler(keep_and_tell)] if commits else []
        with open_session(self.destination, items, beside=beside, handlers=handlers, reached=reached) as association:
            session.append(DicomSession(association, self.settings))
            yield session[0]


class DicomSession:
    """One association with an archive."""

    def __init__(self, association: StoreSession, settings: DicomDestination) -> None:
        self._association = association
        self._settings = settings
        self._reports: set[str] = set()
        self._heard = threading.Condition()

    @property
    def confirmation(self) -> Confirmation:
        """As configured; `auto` asks for commitment where the archive accepted that service."""
        mode = self._settings.commitment
        if mode == "query":
            return Confirmation.QUERY
        if mode == "none" or (mode == "auto" and not self._association.accepts_class(PUSH_MODEL)):
            return Confirmation.ANSWER
        return Confirmation.COMMITMENT

    @property
    def commitment_timeout_seconds(self) -> float:
        """As configured."""
        return self._settings.commitment_timeout_seconds

    @property
    def offers_query(self) -> bool:
        """Whether the archive accepted the query."""
        return self._association.accepts_class(STUDY_ROOT_FIND)

    def send(self, item: Outgoing) -> SendResult:
        """Send one object by C-STORE."""
        return self._association.send(item)

    def found(self, items: Sequence[Outgoing]) -> frozenset[str]:
        """Ask by C-FIND."""
        return found_instances(self._association, items)

    def request_commitment(self, transaction_uid: str, items: Sequence[Outgoing]) -> None:
        """Ask by N-ACTION."""
        request_commitment(self._association, transaction_uid, items)

    def await_report(self, transaction_uid: str) -> None:
        """Wait for the N-EVENT-REPORT on this association, unless it is to come on another."""
        if self._settings.commitment != "reverse":
            with self._heard:
                self._heard.wait_for(lambda: transaction_uid in self._reports, self._settings.commitment_wait_seconds)

    def heard(self, transaction_uid: str) -> None:
        """A report came on this association."""
        with self._heard:
            self._reports.add(transaction_uid)
            self._heard.notify_all()
