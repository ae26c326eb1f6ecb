"""The book of instances: one row for each content that was acknowledged, and the series that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, insert, select, update

from daemon.database.book import Book
from daemon.database.prepared import Prepared
from daemon.database.retention import seen_again
from daemon.database.schema import INSTANCE, SERIES
from daemon.database.series import SeriesState
from daemon.spool import Recording, SpooledInstance


class InstanceBook(Book):
    """Records instances; safe to repeat."""

    def record_instance(self, instance: SpooledInstance) -> Recording:
        """Commit the row of an instance; `record_instances` with one."""
        (recording,) = self.record_instances([instance])
        return recording

    def record_instances(self, instances: Sequence[SpooledInstance]) -> tuple[Recording, ...]:
        """Commit the rows of instances whose files are durable, all or none; when this returns, their C-STOREs may be acknowledged.

        A new instance makes its series wait (again) for more. Bytes that differ from those that came first under the same SOP
        Instance UID are a CONFLICT: their row is quarantined and belongs to no job. The same bytes again are a DUPLICATE.

        Raises:
            StoreBusy, StoreFull, StoreUnavailable: nothing was recorded; do not acknowledge.
        """
        with self.database.writing() as connection:
            known = _known_hashes(connection, {instance.sop_instance_uid for instance in instances})
            recordings: list[Recording] = []
            for instance in instances:
                recording = judge(instance.sha256, known[instance.sop_instance_uid])
                known[instance.sop_instance_uid].add(instance.sha256)
                recordings.append(recording)
            judged = list(zip(instances, recordings, strict=True))
            rows = [_row(instance, recording) for instance, recording in judged if recording is not Recording.DUPLICATE]
            if rows:
                INSERT_INSTANCE.change(connection, *rows)
            for instance, recording in judged:
                if recording is Recording.DUPLICATE:
                    seen_again(connection, instance)
            for instance, recording in _latest_of_each_series(judged):
                _touch_series(connection, instance, recording)
        return tuple(recordings)

    def study_bytes(self, study_instance_uid: str) -> int:
        """Return how many bytes of a study were recorded."""
        total = select(func.sum(INSTANCE.c.bytes)).where(INSTANCE.c.study_instance_uid == study_instance_uid)
        with self.database.reading() as connection:
            return int(connection.scalar(total) or 0)

    def known(self, path: Path) -> bool:
        """Tell whether the file at `path` has its row."""
        with self.database.reading() as connection:
            return connection.scalar(select(INSTANCE.c.id).where(INSTANCE.c.path == str(path)).limit(1)) is not None

    def reconcile(self, instances: Iterable[SpooledInstance], record: Callable[[SpooledInstance], Recording] | None = None) -> int:
        """Record the spooled instances that have no row (a crash came between file and row); return how many were missing.

        Call it before the listener starts, with `spool.instances(skip=store.known)` and what else records an arrival than this book.
        """
        record = record or self.record_instance
        return sum(record(instance) is not Recording.DUPLICATE for instance in instances if not self.known(instance.path))


HASHES_OF = Prepared(select(INSTANCE.c.sha256).where(INSTANCE.c.sop_instance_uid == bindparam("uid")))
RECORDED = [column.name for column in INSTANCE.columns if not column.nullable and column.name != "id"]
"""What is known on arrival; the rest of a row is told later."""
INSERT_INSTANCE = Prepared(insert(INSTANCE), columns=RECORDED)
SERIES_ROW = (SERIES.c.study_instance_uid == bindparam("study")) & (SERIES.c.series_instance_uid == bindparam("series"))
OPENED: dict[str, BindParameter[Any]] = {
    name: bindparam(f"new_{name}") for name in ("state", "last_arrival", "calling_ae_title", "called_ae_title", "source_address")
}
REOPEN_SERIES = Prepared(update(SERIES).where(SERIES_ROW).values(**OPENED))
INSERT_SERIES = Prepared(insert(SERIES).values(study_instance_uid=bindparam("study"), series_instance_uid=bindparam("series"), **OPENED))
PROLONG_WAIT = Prepared(
    update(SERIES)
    .where(SERIES_ROW, SERIES.c.state == bindparam("waiting"), SERIES.c.last_arrival < bindparam("new_last_arrival"))
    .values(last_arrival=OPENED["last_arrival"])
)


def _known_hashes(connection: Connection, uids: Set[str]) -> dict[str, set[str]]:
    """SOP Instance UID -> SHA-256 of every content that was recorded under it."""
    return {uid: {sha256 for (sha256,) in HASHES_OF.rows(connection, {"uid": uid})} for uid in uids}


def judge(sha256: str, known: Set[str]) -> Recording:
    """Tell what an instance is whose SOP Instance UID came before with the `known` hashes."""
    if not known:
        return Recording.NEW
    return Recording.DUPLICATE if sha256 in known else Recording.CONFLICT


def insert_instance(connection: Connection, instance: SpooledInstance, recording: Recording) -> None:
    """Add the row of an instance."""
    INSERT_INSTANCE.change(connection, _row(instance, recording))


def _latest_of_each_series(judged: Iterable[tuple[SpooledInstance, Recording]]) -> list[tuple[SpooledInstance, Recording]]:
    """One touch for each series: that of its last new instance, else of its last repeated one; a conflict touches nothing."""
    latest: dict[tuple[str, str], tuple[SpooledInstance, Recording]] = {}
    for instance, recording in judged:
        series = (instance.study_instance_uid, instance.series_instance_uid)
        is_newer = recording is Recording.NEW or latest.get(series, (instance, recording))[1] is not Recording.NEW
        if recording is not Recording.CONFLICT and is_newer:
            latest[series] = (instance, recording)
    return list(latest.values())


def _row(instance: SpooledInstance, recording: Recording) -> dict[str, object]:
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "sha256": instance.sha256,
        "sop_class_uid": instance.sop_class_uid,
        "series_instance_uid": instance.series_instance_uid,
        "study_instance_uid": instance.study_instance_uid,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "path": str(instance.path),
        "bytes": instance.bytes,
        "calling_ae_title": instance.calling_ae_title,
        "called_ae_title": instance.called_ae_title,
        "peer_address": instance.peer_address,
        "received_at": instance.received_at,
        "quarantined": recording is Recording.CONFLICT,
    }


def _touch_series(connection: Connection, instance: SpooledInstance, recording: Recording) -> None:
    """A new instance opens its series; a repeated one only prolongs the wait of a series that is open, as its sender is still at it."""
    series = {"study": instance.study_instance_uid, "series": instance.series_instance_uid, "new_last_arrival": instance.received_at}
    if recording is Recording.DUPLICATE:
        PROLONG_WAIT.change(connection, {**series, "waiting": SeriesState.WAITING.value})
        return
    opened = {
        **series,
        "new_state": SeriesState.WAITING.value,
        "new_calling_ae_title": instance.calling_ae_title,
        "new_called_ae_title": instance.called_ae_title,
        "new_source_address": instance.peer_address,
    }
    if REOPEN_SERIES.change(connection, opened) == 0:
        INSERT_SERIES.change(connection, opened)
