"""Migrations: numbered, forward-only steps that bring a store of any earlier version to today's tables.

A migration that has been released is never edited: a change is a new one at the end of `MIGRATIONS`. New ones are numbered by
the hour in which they were written (yyyymmddhh), so that two that were written side by side do not take the same number.
The SQL is the part that SQLite and PostgreSQL share; `{identity}` is the one column type that they spell differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, inspect, select

from daemon.clock import Clock
from daemon.database.engine import Database, identity_column
from daemon.database.errors import StoreTooNew, StoreTooOld
from daemon.database.schema import SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One step: `statements` run in one transaction with the note that it was applied."""

    number: int
    concept: str
    statements: tuple[str, ...]


RECEPTION_AND_JOBS = Migration(
    number=1,
    concept="instances, series and jobs",
    statements=(
        """CREATE TABLE schema_version (number INTEGER PRIMARY KEY, applied_at TIMESTAMP WITH TIME ZONE NOT NULL)""",
        """CREATE TABLE instance (
            id {identity}, sop_instance_uid VARCHAR(64) NOT NULL, sha256 VARCHAR(64) NOT NULL, sop_class_uid VARCHAR(64) NOT NULL,
            series_instance_uid VARCHAR(64) NOT NULL, study_instance_uid VARCHAR(64) NOT NULL, transfer_syntax_uid VARCHAR(64) NOT NULL,
            path VARCHAR(4096) NOT NULL, bytes BIGINT NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, called_ae_title VARCHAR(16) NOT NULL,
            peer_address VARCHAR(64) NOT NULL, received_at TIMESTAMP WITH TIME ZONE NOT NULL, quarantined BOOLEAN NOT NULL,
            UNIQUE (sop_instance_uid, sha256))""",
        "CREATE INDEX instance_series ON instance (study_instance_uid, series_instance_uid)",
        "CREATE INDEX instance_path ON instance (path)",
        """CREATE TABLE series (
            study_instance_uid VARCHAR(64) NOT NULL, series_instance_uid VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL,
            last_arrival TIMESTAMP WITH TIME ZONE NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, called_ae_title VARCHAR(16) NOT NULL,
            PRIMARY KEY (study_instance_uid, series_instance_uid))""",
        "CREATE INDEX series_waiting ON series (state, last_arrival)",
        """CREATE TABLE job (
            id {identity}, study_instance_uid VARCHAR(64) NOT NULL, series_instance_uid VARCHAR(64) NOT NULL,
            content_sha256 VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL, priority INTEGER NOT NULL, attempt INTEGER NOT NULL,
            failures INTEGER NOT NULL, postponements INTEGER NOT NULL, run_at TIMESTAMP WITH TIME ZONE NOT NULL,
            error_code VARCHAR(64), error_message VARCHAR, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, called_ae_title VARCHAR(16) NOT NULL,
            owner VARCHAR(64), owner_host VARCHAR(255), owner_pid INTEGER, owner_boot_id VARCHAR(64), owner_name VARCHAR(64),
            lease_until TIMESTAMP WITH TIME ZONE,
            UNIQUE (study_instance_uid, series_instance_uid, content_sha256))""",
        "CREATE INDEX job_queue ON job (state, priority, created_at, id)",
        """CREATE TABLE job_instance (
            job_id BIGINT NOT NULL REFERENCES job (id), instance_id BIGINT NOT NULL REFERENCES instance (id),
            PRIMARY KEY (job_id, instance_id))""",
        "CREATE INDEX job_instance_instance ON job_instance (instance_id)",
    ),
)

OUTBOX_OF_RESULTS = Migration(
    number=2,
    concept="the outbox",
    statements=(
        """CREATE TABLE outbox (
            id {identity}, job_id BIGINT NOT NULL REFERENCES job (id), destination VARCHAR(64) NOT NULL,
            sop_instance_uid VARCHAR(64) NOT NULL, path VARCHAR(4096) NOT NULL, sha256 VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL,
            attempt INTEGER NOT NULL, due_at TIMESTAMP WITH TIME ZONE NOT NULL, error_code VARCHAR(64), error_message VARCHAR,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL, updated_at TIMESTAMP WITH TIME ZONE NOT NULL, owner VARCHAR(64),
            owner_host VARCHAR(255), owner_pid INTEGER, owner_boot_id VARCHAR(64), lease_until TIMESTAMP WITH TIME ZONE,
            UNIQUE (job_id, destination, sop_instance_uid))""",
        "CREATE INDEX outbox_due ON outbox (state, destination, due_at)",
    ),
)

CORRECTIONS_AND_COMPLETENESS = Migration(
    number=2026112418,
    concept="corrections, completeness, priorities that age, and retention",
    statements=(
        "ALTER TABLE instance ADD COLUMN verdict VARCHAR(32)",
        "ALTER TABLE instance ADD COLUMN superseded_by BIGINT",
        "ALTER TABLE instance ADD COLUMN removed_at TIMESTAMP WITH TIME ZONE",
        "CREATE INDEX instance_conflict ON instance (verdict) WHERE quarantined",
        "CREATE INDEX instance_superseded ON instance (superseded_by) WHERE superseded_by IS NOT NULL",
        "CREATE INDEX instance_received ON instance (received_at) WHERE removed_at IS NULL",
        "ALTER TABLE series ADD COLUMN reason VARCHAR",
        """CREATE TABLE association (
            id VARCHAR(32) PRIMARY KEY NOT NULL, calling_ae_title VARCHAR(16) NOT NULL, peer_address VARCHAR(64) NOT NULL,
            opened_at TIMESTAMP WITH TIME ZONE NOT NULL, owner_host VARCHAR(255) NOT NULL, owner_pid INTEGER NOT NULL,
            owner_boot_id VARCHAR(64) NOT NULL)""",
        "CREATE TABLE switch (name VARCHAR(64) PRIMARY KEY NOT NULL, since TIMESTAMP WITH TIME ZONE NOT NULL)",
        "ALTER TABLE job ADD COLUMN claim_order TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '1970-01-01 00:00:00.000000'",
        "UPDATE job SET claim_order = created_at",
        "ALTER TABLE job ADD COLUMN partial_reason VARCHAR",
        "ALTER TABLE job ADD COLUMN superseded_by BIGINT",
        "CREATE INDEX job_superseded ON job (superseded_by) WHERE superseded_by IS NOT NULL",
        "CREATE INDEX outbox_path ON outbox (path)",
        "DROP INDEX job_queue",
        "CREATE INDEX job_queue ON job (state, claim_order, id)",
    ),
)

FORMS_AND_COMMITMENT = Migration(
    number=2026112419,
    concept="alternative forms of a result, storage commitment, and what destinations accept",
    statements=(
        "ALTER TABLE outbox ADD COLUMN form_of VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE outbox ADD COLUMN preference INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE outbox ADD COLUMN optional BOOLEAN NOT NULL DEFAULT FALSE",
        "ALTER TABLE outbox ADD COLUMN transaction_uid VARCHAR(64)",
        "ALTER TABLE outbox ADD COLUMN requested_at TIMESTAMP WITH TIME ZONE",
        "ALTER TABLE outbox ADD COLUMN stored_at TIMESTAMP WITH TIME ZONE",
        "CREATE INDEX outbox_instance ON outbox (sop_instance_uid)",
        """CREATE TABLE commitment (
            transaction_uid VARCHAR(64) PRIMARY KEY NOT NULL, destination VARCHAR(64) NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL)""",
        """CREATE TABLE capability (
            destination VARCHAR(64) NOT NULL, sop_class_uid VARCHAR(64) NOT NULL, transfer_syntax_uid VARCHAR(64) NOT NULL,
            accepted BOOLEAN NOT NULL, seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
            PRIMARY KEY (destination, sop_class_uid, transfer_syntax_uid))""",
    ),
)

SOURCES_AND_SCHEDULES = Migration(
    number=2026112706,
    concept="where series came from, off-peak windows, and the choice among the series of a study",
    statements=(
        "ALTER TABLE series ADD COLUMN source_address VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE job ADD COLUMN source_address VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE job ADD COLUMN off_peak VARCHAR",
        "ALTER TABLE job ADD COLUMN selection VARCHAR",
        "CREATE INDEX job_selection ON job (study_instance_uid) WHERE selection IS NOT NULL",
    ),
)

RULES_OF_JOBS = Migration(
    number=2026112718,
    concept="which rules a job was for, and how often the same bytes came again",
    statements=(
        """CREATE TABLE job_rule (
            job_id BIGINT NOT NULL REFERENCES job (id), rule VARCHAR NOT NULL, volumes INTEGER NOT NULL, withheld INTEGER NOT NULL,
            arrived_at TIMESTAMP WITH TIME ZONE NOT NULL, finished_at TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY (job_id, rule))""",
        "CREATE INDEX job_rule_finished ON job_rule (finished_at)",
        "ALTER TABLE instance ADD COLUMN repeats INTEGER",
    ),
)

ANNOTATIONS_OF_JOBS = Migration(
    number=2026112719,
    concept="the annotation objects that a job has read",
    statements=(
        """CREATE TABLE job_annotation (
            job_id BIGINT NOT NULL, instance_id BIGINT NOT NULL, PRIMARY KEY (job_id, instance_id))""",
    ),
)

PATIENTS_OF_SERIES = Migration(
    number=2026113014,
    concept="which series may be of one patient",
    statements=(
        "ALTER TABLE instance ADD COLUMN patient_bucket INTEGER",
        "CREATE INDEX instance_patient ON instance (patient_bucket) WHERE patient_bucket IS NOT NULL",
        "CREATE INDEX instance_told ON instance (study_instance_uid, series_instance_uid) WHERE patient_bucket IS NOT NULL",
    ),
)

MIGRATIONS = (
    RECEPTION_AND_JOBS,
    OUTBOX_OF_RESULTS,
    CORRECTIONS_AND_COMPLETENESS,
    FORMS_AND_COMMITMENT,
    SOURCES_AND_SCHEDULES,
    RULES_OF_JOBS,
    ANNOTATIONS_OF_JOBS,
    PATIENTS_OF_SERIES,
)
KNOWN = frozenset(step.number for step in MIGRATIONS)


def migrate(database: Database, clock: Clock, steps: Sequence[Migration] = MIGRATIONS, *, older_stores: bool = True) -> tuple[int, ...]:
    """Apply those of `steps` that the store lacks, in their order, and return their numbers.

    Several processes may call this at once: a lock makes one of them do the work.

    Raises:
        StoreTooNew: a newer version has migrated the store.
        StoreTooOld: an older version made the store, and `older_stores` is not to be touched.
    """
    with database.reading() as connection:
        done = applied(connection)
        pending = _pending(connection, steps)
    unknown = done - KNOWN
    if unknown:
        raise StoreTooNew(
            f"the store {database.place} has migrations that this version of medsam2d does not know: {sorted(unknown)}; "
            "install the version that wrote it (or a later one), or name another store.url"
        )
    if not pending:
        return ()
    if done and not older_stores:
        raise StoreTooOld(
            f"the store {database.place} is that of an older version, which may still run on it; `systemctl restart medsam2d` "
            "brings it up to date, and until then the older version's own `medsam2d` reads it"
        )
    with database.writing_alone() as connection:
        pending = _pending(connection, steps)
        for step in pending:
            _apply(connection, step, clock)
    return tuple(step.number for step in pending)


def applied(connection: Connection) -> frozenset[int]:
    """Return the numbers of the migrations that the store has, none for an empty one."""
    if not inspect(connection).has_table(SCHEMA_VERSION.name):
        return frozenset()
    return frozenset(connection.scalars(select(SCHEMA_VERSION.c.number)))


def _pending(connection: Connection, steps: Sequence[Migration]) -> list[Migration]:
    done = applied(connection)
    return [step for step in steps if step.number not in done]


def _apply(connection: Connection, step: Migration, clock: Clock) -> None:
    identity = identity_column(connection.dialect.name)
    for statement in step.statements:
        connection.exec_driver_sql(statement.replace("{identity}", identity))
    connection.execute(insert(SCHEMA_VERSION).values(number=step.number, applied_at=clock()))
