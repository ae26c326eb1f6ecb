"""Group commit, the lock for each key, and the largest study: what is shared, what is not, and who hears of a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from daemon.draft import FinishedDraft, InstanceTooLarge
from daemon.group_commit import GroupCommit, GroupFailed
from daemon.keyed_lock import KeyedLock
from daemon.spool import Recording, SpooledInstance
from daemon.study_limit import StudyLimit
from dicom_io.part10 import Identity
from tests.component.loopback import received
from tests.component.store_site import instance

SECONDS = 20.0


class Book:
    """Records in memory; the first group waits until all the others are queued."""

    def __init__(self, waiting: Callable[[], int], others: int, error: Exception | None = None) -> None:
        self.groups: list[list[str]] = []
        self.alone: dict[str, Exception] = {}
        self._waiting = waiting
        self._others = others
        self._error = error

    def settle(self, instances: Sequence[SpooledInstance]) -> Sequence[Recording | Exception]:
        self.groups.append([found.sop_instance_uid for found in instances])
        if len(self.groups) == 1:
            pause = threading.Event()
            for _ in range(2000):
                if self._waiting() >= self._others:
                    break
                pause.wait(0.01)
        elif self._error:
            raise self._error
        return [self.alone.get(found.sop_instance_uid, Recording.NEW) for found in instances]


def commit_at_once(count: int, error: Exception | None = None) -> tuple[Book, list[object]]:
    """Let one thread lead alone and `count` - 1 others queue behind it; return what each got."""
    book = Book(lambda: len(group._waiting), count - 1, error)
    group = GroupCommit[SpooledInstance, Recording](book.settle)
    results: list[object] = []

    def record(number: int) -> None:
        try:
            results.append(group.settle(instance(number)))
        except (OSError, GroupFailed, KeyError) as failure:
            results.append(failure)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    return book, results


def test_those_who_come_while_a_group_is_committed_are_the_next_group() -> None:
    book, results = commit_at_once(6)
    assert results == [Recording.NEW] * 6
    assert [len(group) for group in book.groups] == [1, 5]
    assert len({uid for group in book.groups for uid in group}) == 6


def test_a_disk_that_fails_is_told_to_the_whole_group() -> None:
    _book, results = commit_at_once(4, OSError(5, "I/O error"))
    assert sorted(type(result).__name__ for result in results) == ["OSError", "OSError", "OSError", "Recording"]


def test_an_item_that_fails_alone_fails_alone() -> None:
    book = Book(lambda: 0, 0)
    book.alone[instance(2).sop_instance_uid] = OSError(5, "I/O error")
    group = GroupCommit[SpooledInstance, Recording](book.settle)
    assert group.settle(instance(1)) is Recording.NEW
    with pytest.raises(OSError, match="I/O error"):
        group.settle(instance(2))
    assert group.settle(instance(3)) is Recording.NEW


def test_a_fault_of_ours_is_told_to_the_leader_and_the_others_may_send_again() -> None:
    _book, results = commit_at_once(4, KeyError("a fault of ours"))
    assert sorted(type(result).__name__ for result in results) == ["GroupFailed", "GroupFailed", "KeyError", "Recording"]


def test_a_key_is_held_by_one_and_other_keys_are_free() -> None:
    lock, order = KeyedLock(), list[str]()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held("a"):
            entered.set()
            leave.wait(SECONDS)
            order.append("first")

    def follow() -> None:
        with lock.held("a"):
            order.append("second")

    threads = [threading.Thread(target=hold)]
    threads[0].start()
    assert entered.wait(SECONDS)
    with lock.held("b"):
        order.append("another key")
    threads.append(threading.Thread(target=follow))
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(SECONDS)
    assert order == ["another key", "first", "second"]
    assert lock._locks == {}


def finished(size: int, study: str = "1.2") -> FinishedDraft:
    identity = Identity(sop_class_uid="1", sop_instance_uid="1", series_instance_uid="1", study_instance_uid=study)
    return FinishedDraft(temporary=Path("x"), command=received(), identity=identity, sha256="", bytes=size)


def test_a_study_grows_up_to_its_limit_and_the_store_is_asked_once() -> None:
    asked: list[str] = []

    def recorded(study: str) -> int:
        asked.append(study)
        return 40 if study == "1.2" else 0

    limit = StudyLimit(100, recorded)
    limit(finished(30))
    limit(finished(30))
    assert asked == ["1.2"]
    limit(finished(100, "1.3"))
    with pytest.raises(InstanceTooLarge, match=r"expected at most 100 bytes, got 40 and 61 more"):
        limit(finished(61))


def test_what_was_counted_and_not_kept_makes_room_again() -> None:
    limit = StudyLimit(100, lambda _study: 0)
    limit(finished(90))
    limit(finished(90))  # the first was never recorded
