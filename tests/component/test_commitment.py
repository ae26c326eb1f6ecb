"""Storage commitment with pynetdicom as the archive: reports on the same association, and on one that it opens to our listener."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt

from daemon.commitment_reports import ReportKeeper, answer_message
from daemon.delivery import Desk, deliver_due
from daemon.destination_settings import DicomDestination
from daemon.dicom_route import DicomRoute
from daemon.job_states import JobState
from daemon.route import Confirmation
from dicom_io.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentReport, read_report
from dicom_io.errors import NotDicom
from dicom_io.listener import InMemory, Listener, ListenerSettings, Peer, StoreOutcome
from dicom_io.peer import Destination
from dicom_io.proof import STUDY_ROOT_FIND
from tests.component.delivery_site import SEG, FakeDestination, Heard, finished, item, states
from tests.component.loopback import SECONDS
from tests.component.store_site import Site, new_site, worker


@dataclass
class Archive:
    """A Storage SCP that commits what it stored; `report_to` is the port it opens a reverse association to."""

    report_to: int | None = None
    offers_commitment: bool = True
    names_its_role: bool = True
    stored: list[Dataset] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses that its reports were answered with."""
    reported: threading.Event = field(default_factory=threading.Event)
    _answered: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        entity = AE(ae_title="ARCHIVE")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
        contexts = [build_context(SEG, "1.2.840.10008.1.2.1"), build_context(STUDY_ROOT_FIND)]
        if self.offers_commitment:
            contexts.append(build_context(PUSH_MODEL))
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_PDU_SENT, lambda _event: self._answered.set()),
        ]
        server = entity.start_server(("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=handlers)
        assert server is not None
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            entity.shutdown()

    def _store(self, event: evt.Event) -> int:
        self.stored.append(event.dataset)
        return 0x0000

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for stored in self.stored:
            if stored.SeriesInstanceUID == event.identifier.SeriesInstanceUID:
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                answer.SOPInstanceUID = stored.SOPInstanceUID
                yield 0xFF00, answer

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        held = {str(stored.SOPInstanceUID) for stored in self.stored}
        report = Dataset()
        report.TransactionUID = event.action_information.TransactionUID
        self._answered.clear()
        asked = event.action_information.ReferencedSOPSequence
        report.ReferencedSOPSequence = [reference for reference in asked if reference.ReferencedSOPInstanceUID in held]
        threading.Thread(target=self._report, args=(report, event.assoc), daemon=True).start()
        return 0x0000, None

    def _report(self, report: Dataset, association: object) -> None:
        if self.report_to is None:
            assert self._answered.wait(SECONDS)  # one message at a time: the N-ACTION's answer first
            status, _ = association.send_n_event_report(report, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)  # type: ignore[attr-defined]
        else:
            entity = AE(ae_title="ARCHIVE")
            roles: list[Any] = [build_role(PUSH_MODEL, scp_role=True)] if self.names_its_role else []
            reverse = entity.associate(
                "127.0.0.1", self.report_to, contexts=[build_context(PUSH_MODEL)], ae_title="MEDSAM2D", ext_neg=roles
            )
            assert reverse.is_established
            status, _ = reverse.send_n_event_report(report, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            reverse.release()
        self.answers.append(int(status.Status))
        self.reported.set()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def route(port: int, **settings: object) -> DicomRoute:
    own = DicomDestination.model_validate({"host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE", **settings})
    called = Destination(name="pacs", host="127.0.0.1", port=port, ae_title="ARCHIVE", calling_ae_title="MEDSAM2D")
    return DicomRoute(destination=called, settings=own)


def deliver(site: Site, way: DicomRoute, heard: Heard) -> None:
    deliver_due("pacs", way, Desk(store=site.store, clock=site.clock, observer=heard, worker=worker()))


@contextlib.contextmanager
def our_listener(site: Site, heard: Heard) -> Iterator[int]:
    settings = ListenerSettings(port=0, ae_titles=("MEDSAM2D",), peers=(Peer(ae_title="ARCHIVE"),))
    keeper = ReportKeeper(store=site.store, observer=heard)
    intake = InMemory(lambda _received: StoreOutcome.CANNOT_UNDERSTAND)
    listener = Listener(settings, intake, lambda _event: None, commitment=partial(answer_message, keep=keeper))
    port = listener.start()
    try:
        yield port
    finally:
        listener.stop(drain_seconds=SECONDS)


@pytest.mark.parametrize("mode", ["auto", "same"])
def test_a_report_on_the_same_association_delivers(site: Site, mode: str) -> None:
    job = finished(site, item(site, 1), item(site, 2))
    archive, heard = Archive(), Heard()
    with archive.serving() as port:
        deliver(site, route(port, commitment=mode, commitment_wait_seconds=SECONDS), heard)
    assert site.store.job(job).state is JobState.DELIVERED
    assert archive.answers == [0x0000]
    assert heard.only("delivered") == [("delivered", "pacs", "1"), ("delivered", "pacs", "2")]


@pytest.mark.parametrize("names_its_role", [True, False])
def test_a_report_on_a_reverse_association_to_our_listener_delivers(site: Site, names_its_role: bool) -> None:
    job = finished(site, item(site, 1))
    heard = Heard()
    with our_listener(site, heard) as listening:
        archive = Archive(report_to=listening, names_its_role=names_its_role)
        with archive.serving() as port:
            deliver(site, route(port, commitment="reverse"), heard)
            assert archive.reported.wait(SECONDS)
    assert site.store.job(job).state is JobState.DELIVERED
    assert heard.only("delivered") == [("delivered", "pacs", "1")]


def test_auto_believes_the_answer_of_an_archive_without_storage_commitment(site: Site) -> None:
    job = finished(site, item(site, 1))
    with Archive(offers_commitment=False).serving() as port:
        deliver(site, route(port), Heard())
    assert site.store.job(job).state is JobState.DELIVERED


def test_where_commitment_is_demanded_an_archive_without_it_leaves_the_result_stored(site: Site) -> None:
    finished(site, item(site, 1))
    archive, heard = Archive(offers_commitment=False), Heard()
    with archive.serving() as port:
        deliver(site, route(port, commitment="reverse"), heard)
        site.clock.forward(1)
        deliver(site, route(port, commitment="reverse"), heard)
    assert len(archive.stored) == 1
    assert states(site) == {("pacs", "1"): "STORED"}
    assert heard.only("failed")[0] == ("failed", "pacs", "1", "commitment-refused")


def test_proof_by_query_finds_what_was_stored(site: Site) -> None:
    job = finished(site, item(site, 1), item(site, 2))
    with Archive(offers_commitment=False).serving() as port:
        deliver(site, route(port, commitment="query"), Heard())
    assert site.store.job(job).state is JobState.DELIVERED


def test_a_report_of_a_transaction_that_is_not_ours_or_comes_twice_changes_nothing(site: Site) -> None:
    job = finished(site, item(site, 1))
    heard, uid = Heard(), "1.2.826.0.1.3680043.8.498.1.1"
    silent = FakeDestination(confirmation=Confirmation.COMMITMENT, report=lambda _whole: None)
    deliver_due("pacs", silent, Desk(store=site.store, clock=site.clock, observer=heard, worker=worker()))
    keep = ReportKeeper(store=site.store, observer=heard)
    assert keep(CommitmentReport(transaction_uid="2.25.1", committed=frozenset({uid}), failed={}))
    assert keep(CommitmentReport(transaction_uid="2.25.1", committed=frozenset(), failed={uid: 0x0112}))
    assert states(site) == {("pacs", "1"): "STORED"}
    ours = CommitmentReport(transaction_uid=silent.requests[0], committed=frozenset({uid}), failed={})
    assert keep(ours)
    assert keep(ours)
    assert site.store.job(job).state is JobState.DELIVERED
    assert heard.only("delivered") == [("delivered", "pacs", "1")]


def test_a_report_without_transaction_or_with_foreign_values_is_not_read() -> None:
    with pytest.raises(NotDicom, match="Transaction UID"):
        read_report(Dataset())
    nameless = Dataset()
    nameless.TransactionUID = "2.25.1"
    nameless.ReferencedSOPSequence = [Dataset()]
    with pytest.raises(NotDicom, match="SOP Instance UIDs"):
        read_report(nameless)
