"""The book of instances: one row for each content that was acknowledged, and the series that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from daemon.database.book import Book
from daemon.database.retention import seen_again
from daemon.database.schema import INSTANCE, SERIES
from daemon.database.series import SeriesState
from daemon.spool import Recording, SpooledInstance


class InstanceBook(Book):
    """Records instances; safe to repeat."""

    def record_instance(self, instance: SpooledInstance) -> Recording:
        """Commit the row of an instance whose file is durable; when this returns, the C-STORE may be acknowledged.

        A new instance makes its series wait (again) for more. Bytes that differ from those that came first under the same SOP
        Instance UID are a CONFLICT: their row is quarantined and belongs to no job. The same bytes again are a DUPLICATE.

        Raises:
            StoreBusy, StoreFull, StoreUnavailable: nothing was recorded; do not acknowledge.
        """
        with self.database.writing() as connection:
            known = connection.scalars(select(INSTANCE.c.sha256).where(INSTANCE.c.sop_instance_uid == instance.sop_instance_uid)).all()
            recording = judge(instance.sha256, known)
            if recording is Recording.DUPLICATE:
                seen_again(connection, instance.sop_instance_uid, instance.sha256)
            else:
                insert_instance(connection, instance, recording)
            if recording is not Recording.CONFLICT:
                _touch_series(connection, instance, recording)
        return recording

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


def judge(sha256: str, known: Iterable[str]) -> Recording:
    """Tell what an instance is whose SOP Instance UID came before with the `known` hashes."""
    hashes = set(known)
    if not hashes:
        return Recording.NEW
    return Recording.DUPLICATE if sha256 in hashes else Recording.CONFLICT


def insert_instance(connection: Connection, instance: SpooledInstance, recording: Recording) -> None:
    """Add the row of an instance."""
    connection.execute(
        insert(INSTANCE).values(
            sop_instance_uid=instance.sop_instance_uid,
            sha256=instance.sha256,
            sop_class_uid=instance.sop_class_uid,
            series_instance_uid=instance.series_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            path=str(instance.path),
            bytes=instance.bytes,
            calling_ae_title=instance.calling_ae_title,
            called_ae_title=instance.called_ae_title,
            peer_address=instance.peer_address,
            received_at=instance.received_at,
            quarantined=recording is Recording.CONFLICT,
        )
    )


def _touch_series(connection: Connection, instance: SpooledInstance, recording: Recording) -> None:
    """A new instance opens its series; a repeated one only prolongs the wait of a series that is open, as its sender is still at it."""
    row = (SERIES.c.study_instance_uid == instance.study_instance_uid) & (SERIES.c.series_instance_uid == instance.series_instance_uid)
    if recording is Recording.DUPLICATE:
        waiting = row & (SERIES.c.state == SeriesState.WAITING.value) & (SERIES.c.last_arrival < instance.received_at)
        connection.execute(update(SERIES).where(waiting).values(last_arrival=instance.received_at))
        return
    opened = {
        "state": SeriesState.WAITING.value,
        "last_arrival": instance.received_at,
        "calling_ae_title": instance.calling_ae_title,
        "called_ae_title": instance.called_ae_title,
    }
    if connection.execute(update(SERIES).where(row).values(**opened)).rowcount == 0:
        uids = {"study_instance_uid": instance.study_instance_uid, "series_instance_uid": instance.series_instance_uid}
        connection.execute(insert(SERIES).values(**uids, **opened))
