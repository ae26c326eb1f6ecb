"""The store: what was received, what is to be done and what waits to be delivered, durable and shared by all processes.

SQLite is the default: one file, no server. Each method is one transaction; when it returns, its outcome survives a power cut.
"""

from __future__ import annotations

from daemon.clock import Clock, system_clock
from daemon.database.annotated_jobs import AnnotatedJobBook
from daemon.database.backoff import Backoff
from daemon.database.book import StoreSettings
from daemon.database.claims import ClaimBook
from daemon.database.commitments import CommitmentBook, Settled
from daemon.database.corrections import Conflict, ConflictVerdict, CorrectionBook
from daemon.database.engine import Database
from daemon.database.errors import (
    InputsRemoved,
    LeaseLost,
    StoreBusy,
    StoreFull,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
    UnknownInstance,
    UnknownJob,
)
from daemon.database.identity import WorkerIdentity, process_is_alive, this_process
from daemon.database.instances import InstanceBook
from daemon.database.job import Job, Priority
from daemon.database.job_rules import RuleBook, RuleOutcome
from daemon.database.jobs import JobBook, Predecessor
from daemon.database.migrations import migrate
from daemon.database.other_studies import OtherStudiesBook
from daemon.database.outbox import Delivery, OutboxBook, OutboxItem, OutboxState
from daemon.database.own_results import OwnResultBook
from daemon.database.retention import RetentionBook
from daemon.database.senders import SenderBook
from daemon.database.series import NOT_SELECTED, SeriesBook, SeriesState, Terms, WaitingSeries
from daemon.database.server_clock import ServerClock
from daemon.database.switches import DRAIN, SwitchBook
from daemon.job_states import IllegalMove, JobEvent, JobState
from daemon.results import ResultConflict, Results

__all__ = [
    "DRAIN",
    "NOT_SELECTED",
    "Backoff",
    "Conflict",
    "ConflictVerdict",
    "Delivery",
    "IllegalMove",
    "InputsRemoved",
    "Job",
    "JobEvent",
    "JobState",
    "LeaseLost",
    "OutboxItem",
    "OutboxState",
    "Predecessor",
    "Priority",
    "ResultConflict",
    "Results",
    "RuleOutcome",
    "SeriesState",
    "Settled",
    "Store",
    "StoreBusy",
    "StoreFull",
    "StoreSettings",
    "StoreTooNew",
    "StoreTooOld",
    "StoreUnavailable",
    "Terms",
    "UnknownInstance",
    "UnknownJob",
    "WaitingSeries",
    "WorkerIdentity",
    "open_store",
    "process_is_alive",
    "this_process",
]


class Store(
    InstanceBook,
    CorrectionBook,
    SeriesBook,
    AnnotatedJobBook,
    ClaimBook,
    JobBook,
    RuleBook,
    OutboxBook,
    CommitmentBook,
    OwnResultBook,
    OtherStudiesBook,
    SenderBook,
    SwitchBook,
    RetentionBook,
):
    """All books of one database; the methods stand in `daemon/database/`, a file a book."""

    def __init__(self, url: str, clock: Clock, settings: StoreSettings | None = None, *, updates: bool = True) -> None:
        """Open the store at `url` and bring its tables up to date; with `updates` False only a new one is made.

        Raises:
            ConfigError: `url` is not one we can use, or a newer version wrote the store (StoreTooNew), or an older one (StoreTooOld).
            StoreBusy, StoreFull, StoreUnavailable: it cannot be used just now.
        """
        settings = settings or StoreSettings()
        database = Database(url, busy_seconds=settings.busy_seconds)
        shared = database.is_server and clock is system_clock  # hosts whose clocks differ must agree on when a lease ends
        super().__init__(database, ServerClock(database) if shared else clock, settings)
        try:
            migrate(self.database, self.clock, older_stores=updates)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections; the store can be opened again."""
        self.database.close()


def open_store(url: str, clock: Clock, settings: StoreSettings | None = None, *, updates: bool = True) -> Store:
    """Open the store at `url`, a SQLAlchemy URL such as `sqlite:////var/lib/medsam2d/store.sqlite`; see `Store`."""
    return Store(url, clock, settings, updates=updates)
