"""The receiver behind a real association: success only after file and row, and nothing left of anything less."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from daemon.receiver import Receiver, RecordAll
from daemon.spool import Recording, Spool, SpooledInstance
from daemon.study_limit import StudyLimit
from dicom_io.errors import NotDicom
from dicom_io.listener import AssociationEventKind, ReceivedInstance, StoreCommand, StoreOutcome
from tests.component.loopback import (
    CT_EXPLICIT,
    Witness,
    associated,
    data_set_bytes,
    encode,
    listening,
    on_sent_fragment,
    received,
    request_association,
    small_instance,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Book:
    """An InstanceBook in memory, which asks the file system whether the file was there first."""

    def __init__(self) -> None:
        self.rows: dict[str, SpooledInstance] = {}
        self.recordings: list[Recording] = []

    def record_instances(self, instances: Sequence[SpooledInstance]) -> list[Recording]:
        return [self._record(instance) for instance in instances]

    def _record(self, instance: SpooledInstance) -> Recording:
        assert instance.path.is_file()
        first = self.rows.setdefault(instance.sop_instance_uid, instance)
        same = Recording.DUPLICATE if first.sha256 == instance.sha256 else Recording.CONFLICT
        recording = Recording.NEW if first is instance else same
        self.recordings.append(recording)
        return recording


class Ears:
    """A ReceiptObserver that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def kept(self, instance: SpooledInstance, recording: Recording) -> None:
        self.heard.append(("kept", recording.value))

    def refused(self, command: StoreCommand, outcome: StoreOutcome, error: Exception) -> None:
        self.heard.append((outcome.name, type(error).__name__))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def receiver(folder: Path, record: RecordAll, *, reserve_bytes: int = 0) -> Receiver:
    return Receiver(Spool(folder, reserve_bytes, lambda: NOW), record)


def test_success_is_answered_once_the_file_and_its_row_are_kept(tmp_path: Path) -> None:
    book = Book()
    with listening(receiver(tmp_path, book.record_instances)) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance()).Status == 0x0000
    (row,) = book.rows.values()
    assert data_set_bytes(row.path.read_bytes()) == encode(small_instance())


def test_a_resend_is_a_duplicate_and_other_bytes_are_a_conflict_and_both_are_kept(tmp_path: Path) -> None:
    book, ears = Book(), Ears()
    sink = Receiver(Spool(tmp_path, 0, lambda: NOW), book.record_instances, ears)
    with listening(sink) as port, associated(port, [CT_EXPLICIT]) as association:
        for name in ("Same", "Same", "Other"):
            assert association.send_c_store(small_instance(PatientName=name)).Status == 0x0000
    assert book.recordings == [Recording.NEW, Recording.DUPLICATE, Recording.CONFLICT]
    assert ears.heard == [("kept", "new"), ("kept", "duplicate"), ("kept", "conflict")]
    assert len(files_below(tmp_path)) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError("INSERT", {}, Exception("locked")), 0xA700),
        (OSError(5, "I/O error"), 0xA700),
        (KeyError("a fault of ours"), 0xC000),
    ],
    ids=["the store is locked", "the disk fails", "a bug"],
)
def test_a_row_that_cannot_be_committed_answers_a_failure_and_leaves_no_file(tmp_path: Path, error: Exception, status: int) -> None:
    def fail(_instances: Sequence[SpooledInstance]) -> Sequence[Recording]:
        raise error

    with listening(receiver(tmp_path, fail)) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance()).Status == status
    assert files_below(tmp_path) == []


def test_a_failure_to_record_a_resend_keeps_the_file_that_was_acknowledged(tmp_path: Path) -> None:
    book = Book()
    assert receiver(tmp_path, book.record_instances).receive(received()) is StoreOutcome.SUCCESS

    def fail(_instances: Sequence[SpooledInstance]) -> Sequence[Recording]:
        raise OSError(5, "I/O error")

    assert receiver(tmp_path, fail).receive(received()) is StoreOutcome.OUT_OF_RESOURCES
    assert files_below(tmp_path) == [row.path for row in book.rows.values()]


def test_a_full_disk_answers_out_of_resources_and_leaves_nothing(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    book = Book()
    sink = receiver(tmp_path, book.record_instances, reserve_bytes=status.f_blocks * status.f_frsize + 1)
    with listening(sink) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance()).Status == 0xA700
    assert files_below(tmp_path) == []
    assert book.rows == {}


def test_an_instance_beyond_its_limit_is_refused_while_it_comes_and_leaves_nothing(tmp_path: Path) -> None:
    book, ears = Book(), Ears()
    spool = Spool(tmp_path, 0, lambda: NOW, maximum_instance_bytes=1 << 19)
    with listening(Receiver(spool, book.record_instances, ears)) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance(1, PixelData=bytes(1 << 20))).Status == 0xA700
        assert association.send_c_store(small_instance(2)).Status == 0x0000
    assert ears.heard == [("OUT_OF_RESOURCES", "InstanceTooLarge"), ("kept", "new")]
    assert files_below(tmp_path) == [row.path for row in book.rows.values()]


def test_an_instance_of_a_study_that_is_full_is_refused_and_a_resend_of_what_is_there_is_not(tmp_path: Path) -> None:
    size = len(encode(small_instance(1)))
    book = Book()
    limit = StudyLimit(size, lambda _study: sum(row.bytes for row in book.rows.values()))
    sink = Receiver(Spool(tmp_path, 0, lambda: NOW), book.record_instances, vet=limit)
    assert [sink.receive(received(number)) for number in (1, 2, 1)] == [
        StoreOutcome.SUCCESS,
        StoreOutcome.OUT_OF_RESOURCES,
        StoreOutcome.SUCCESS,
    ]
    assert len(files_below(tmp_path)) == 1


def test_a_header_longer_than_what_is_in_memory_is_read_from_the_file(tmp_path: Path) -> None:
    book = Book()
    sink = receiver(tmp_path, book.record_instances)
    assert sink.receive(received(1, PatientComments="x" * 10_000, AdditionalPatientHistory="x" * 10_000)) is StoreOutcome.SUCCESS
    assert [row.series_instance_uid for row in book.rows.values()] == [str(small_instance().SeriesInstanceUID)]


def test_a_data_set_that_is_another_object_answers_mismatch_and_one_without_series_cannot_be_understood(tmp_path: Path) -> None:
    ears = Ears()
    sink = Receiver(Spool(tmp_path, 0, lambda: NOW), Book().record_instances, ears)
    nameless = small_instance()
    del nameless.SeriesInstanceUID
    other = received(2)
    with listening(sink) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(nameless).Status == 0xC000
    wrong = ReceivedInstance(**{**vars(other), "sop_instance_uid": "1.2.3"})
    assert sink.receive(wrong) is StoreOutcome.DATA_SET_MISMATCH
    assert ears.heard == [("CANNOT_UNDERSTAND", NotDicom.__name__), ("DATA_SET_MISMATCH", "DataSetMismatch")]
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("end", [lambda connection: _abort(connection), lambda connection: _break(connection)], ids=["abort", "break"])
def test_an_association_that_ends_within_an_instance_leaves_no_file(tmp_path: Path, end: Callable[[socket.socket], None]) -> None:
    book, witness = Book(), Witness()
    with listening(receiver(tmp_path, book.record_instances), witness) as port:
        association = request_association(port, [CT_EXPLICIT])
        assert association.send_c_store(small_instance(1)).Status == 0x0000
        on_sent_fragment(association, 3, end)
        answer = association.send_c_store(small_instance(2, PixelData=bytes(1 << 20)))
        assert "Status" not in answer
        witness.wait_for(AssociationEventKind.ABORTED)
    assert files_below(tmp_path) == [row.path for row in book.rows.values()]
    assert len(book.rows) == 1


def test_the_same_instance_in_many_associations_at_once_is_recorded_and_kept_once(tmp_path: Path) -> None:
    book = Book()
    sink = receiver(tmp_path, book.record_instances)
    outcomes: list[StoreOutcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(sink.receive(received()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [StoreOutcome.SUCCESS] * 8
    assert sorted(recording.value for recording in book.recordings) == ["duplicate"] * 7 + ["new"]
    assert len(files_below(tmp_path)) == 1


def _abort(connection: socket.socket) -> None:
    """Send an A-ABORT of the service user (PS3.8 section 9.3.8) between two fragments."""
    connection.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
    connection.shutdown(socket.SHUT_WR)


def _break(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)
