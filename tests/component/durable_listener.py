"""A listener to be traced by strace; instances whose UID ends in a mutation's number are handled in an order that is wrong.

Run as `python -m tests.component.durable_listener FOLDER`: prints its port, and ends with its standard input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from daemon import spool as spool_module
from daemon.clock import system_clock
from daemon.disk import SpoolFull, sync_folder
from daemon.draft import Draft, FinishedDraft
from daemon.receiver import Receiver
from daemon.spool import Recording, Spool, SpooledInstance
from daemon.store import open_store
from dicom_io.listener import Listener
from tests.component.loopback import Witness, settings

WITHOUT_FILE_SYNC, NAMED_BEFORE_FILE_SYNC, WITHOUT_FOLDER_SYNC, WITHOUT_STORE_SYNC, ANSWERED_BEFORE_STORE = range(901, 906)
MUTATIONS = {
    "the file is not synced": WITHOUT_FILE_SYNC,
    "the file has its name before it is synced": NAMED_BEFORE_FILE_SYNC,
    "the folder is not synced": WITHOUT_FOLDER_SYNC,
    "the store is not synced": WITHOUT_STORE_SYNC,
    "the answer comes before the row": ANSWERED_BEFORE_STORE,
}


def is_mutated(uid: str, mutation: int) -> bool:
    return uid.endswith(f".{mutation}")


class WrongSpool(Spool):
    """Syncs what it must not skip, or too late, for the mutated instances."""

    def place_all(self, drafts: Sequence[FinishedDraft]) -> tuple[SpooledInstance | SpoolFull | OSError, ...]:
        (finished,) = drafts
        uid = finished.command.sop_instance_uid
        spool_module.sync_folder = _skip if is_mutated(uid, WITHOUT_FOLDER_SYNC) else sync_folder  # type: ignore[assignment]
        (instance,) = super().place_all(drafts)
        if is_mutated(uid, NAMED_BEFORE_FILE_SYNC) and isinstance(instance, SpooledInstance):
            with instance.path.open("rb") as stream:
                os.fsync(stream.fileno())
        return (instance,)


def _skip(_folder: Path) -> None:
    """Leave a folder as it is."""


def main() -> None:
    folder = Path(sys.argv[1])
    spool = WrongSpool(folder / "spool", 0, system_clock)
    store = open_store(f"sqlite:///{folder / 'store.sqlite'}", system_clock)
    late: list[SpooledInstance] = []
    sync = Draft.sync

    def wrong_sync(self: Draft) -> None:
        if not any(is_mutated(self.command.sop_instance_uid, mutation) for mutation in (WITHOUT_FILE_SYNC, NAMED_BEFORE_FILE_SYNC)):
            sync(self)

    def record_all(instances: Sequence[SpooledInstance]) -> Sequence[Recording]:
        (instance,) = instances
        if is_mutated(instance.sop_instance_uid, WITHOUT_STORE_SYNC):
            with store.database.reading() as connection:
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("PRAGMA synchronous=OFF")
                connection.exec_driver_sql("BEGIN")
            try:
                return store.record_instances(instances)
            finally:
                with store.database.reading() as connection:
                    connection.exec_driver_sql("COMMIT")
                    connection.exec_driver_sql("PRAGMA synchronous=FULL")
                    connection.exec_driver_sql("BEGIN")
        if is_mutated(instance.sop_instance_uid, ANSWERED_BEFORE_STORE):
            late.append(instance)
            return [Recording.NEW]
        return store.record_instances(instances)

    Draft.sync = wrong_sync  # type: ignore[method-assign]
    listener = Listener(settings(), Receiver(spool, record_all), Witness())
    print(listener.start(), flush=True)  # noqa: T201
    sys.stdin.read()
    listener.stop()
    store.record_instances(late)
    store.close()


if __name__ == "__main__":
    main()
