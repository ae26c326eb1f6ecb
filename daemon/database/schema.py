"""The tables as they are today, for writing queries; `migrations.py` creates them, and a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Dialect, Integer, MetaData, String, Table
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, also in databases that know no time zones; a naive one is refused when it is written."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware datetime, got the naive {value.isoformat()}; take the time from the clock")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData()

SCHEMA_VERSION = Table(
    "schema_version",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", UtcDateTime, nullable=False),
)

INSTANCE = Table(
    "instance",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("peer_address", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("quarantined", Boolean, nullable=False),  # other bytes came first under this SOP Instance UID
    Column("verdict", String(32)),  # what an examination made of other bytes under a taken UID; empty: not examined yet
    Column("superseded_by", BigInteger),  # the instance that now stands for this one
    Column("removed_at", UtcDateTime),  # when retention removed the file
    Column("repeats", Integer),  # how often the same bytes came again; empty: never
    Column("patient_bucket", Integer),  # whose its series is, as a number that many patients share; empty: another one tells, or none yet
)

SERIES = Table(
    "series",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("last_arrival", UtcDateTime, nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("reason", String),  # why it waits on, or is partial
    Column("source_address", String(64), nullable=False),  # where its last instance came from; empty for a file of the inbox
)

ASSOCIATION = Table(
    "association",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("calling_ae_title", String(16), nullable=False),
    Column("peer_address", String(64), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("owner_host", String(255), nullable=False),
    Column("owner_pid", Integer, nullable=False),
    Column("owner_boot_id", String(64), nullable=False),
)

SWITCH = Table(
    "switch",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
)

JOB = Table(
    "job",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # times claimed
    Column("failures", Integer, nullable=False),  # counted failures since creation or release
    Column("postponements", Integer, nullable=False),  # transient failures in a row
    Column("run_at", UtcDateTime, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("calling_ae_title", String(16), nullable=False),
    Column("called_ae_title", String(16), nullable=False),
    Column("owner", String(64)),  # fencing token of the claim
    Column("owner_host", String(255)),
    Column("owner_pid", Integer),
    Column("owner_boot_id", String(64)),
    Column("owner_name", String(64)),
    Column("lease_until", UtcDateTime),
    Column("claim_order", UtcDateTime, nullable=False),  # creation plus the priority's patience: the earliest goes first
    Column("partial_reason", String),  # why its series counts as complete although something is missing
    Column("superseded_by", BigInteger),  # the later job over more, or corrected, instances, or over a better series
    Column("source_address", String(64), nullable=False),
    Column("off_peak", String),  # the window in which it may begin, as JSON; empty: at any time
    Column("selection", String),  # how its series stood among those of its study, as JSON
)

JOB_INSTANCE = Table(
    "job_instance",
    METADATA,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("instance_id", BigInteger, primary_key=True, autoincrement=False),
)

JOB_RULE = Table(
    "job_rule",
    METADATA,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rule", String, primary_key=True),
    Column("volumes", Integer, nullable=False),  # of its series that the rule matched
    Column("withheld", Integer, nullable=False),  # targets in them whose mask was not good enough to deliver
    Column("arrived_at", UtcDateTime, nullable=False),  # when the last of the job's instances came
    Column("finished_at", UtcDateTime, nullable=False),  # when the worker was done
)

JOB_ANNOTATION = Table(
    "job_annotation",  # the annotation objects of its study that a job has read
    METADATA,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("instance_id", BigInteger, primary_key=True, autoincrement=False),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("destination", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("path", String(4096), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),  # failed tries
    Column("due_at", UtcDateTime, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("owner", String(64)),
    Column("owner_host", String(255)),
    Column("owner_pid", Integer),
    Column("owner_boot_id", String(64)),
    Column("lease_until", UtcDateTime),
    Column("form_of", String(64), nullable=False),  # items of one job and destination with the same text are forms of one result
    Column("preference", Integer, nullable=False),  # the form of the smallest number is tried first
    Column("optional", Boolean, nullable=False),  # a destination that refuses it is left without it
    Column("transaction_uid", String(64)),  # the newest storage commitment transaction that names it
    Column("requested_at", UtcDateTime),  # when the destination took that request
    Column("stored_at", UtcDateTime),  # when the destination answered that it was stored
)

COMMITMENT = Table(
    "commitment",
    METADATA,
    Column("transaction_uid", String(64), primary_key=True),
    Column("destination", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

CAPABILITY = Table(
    "capability",
    METADATA,
    Column("destination", String(64), primary_key=True),
    Column("sop_class_uid", String(64), primary_key=True),
    Column("transfer_syntax_uid", String(64), primary_key=True),
    Column("accepted", Boolean, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)
