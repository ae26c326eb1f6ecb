"""What each role builds from the configuration, and its loop: listener, worker, delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from daemon.arrivals import complete_quiet_series
from daemon.audit import Audit
from daemon.audit_observers import AssociationAudit, DeliveryAudit, ReceiptAudit
from daemon.child import Life, repeat
from daemon.clock import system_clock
from daemon.config import Config, check_references
from daemon.delivery import deliver_once
from daemon.errors import ConfigError
from daemon.receiver import Receiver
from daemon.spool import Spool
from daemon.store import Backoff, JobState, Results, Store, StoreSettings, process_is_alive, this_process
from daemon.study_limit import StudyLimit
from daemon.weights import book_of
from dicom_io.listener import DoorSettings, Listener, ListenerSettings, Peer, Right
from dicom_io.reference_listener import ReferenceListener
from dicom_io.sender import Destination, SendResult, store
from dicom_io.tls import TlsSettings
from rules.errors import ConfigFaults
from rules.load import load_rules
from rules.rule import RuleSet

LOG = logging.getLogger("medsam2d.roles")
WATCH_SECONDS = 0.5
"""How often a loop looks for work that nobody announces: a quiet series, a queued job, a due delivery."""


def checked_rules(settings: Config) -> RuleSet:
    """Return the rules after checking every destination and weights name that they use. Raises `ConfigFaults`."""
    ruleset = load_rules(settings.rules.paths)
    faults = check_references(settings, ruleset, book_of(settings).entries)
    if faults:
        raise ConfigFaults(faults)
    return ruleset


def listen(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Receive instances, and turn series that have gone quiet into jobs."""
    spool = spool_of(settings)
    spool.sweep()
    # A crash between a file and its row leaves a file that nobody was told was kept: it is taken in as if it had come now.
    found = book.reconcile(spool.instances(book.known))
    if found:
        LOG.warning("%d instances in the spool had no row; they are taken in", found)
    limit = StudyLimit(settings.spool.maximum_study_mib * 2**20, book.study_bytes)
    receiver = Receiver(spool, book.record_instances, ReceiptAudit(audit), limit)
    listener_of = LISTENERS[settings.listener.data_path]
    listener = listener_of(listener_settings(settings), receiver, AssociationAudit(audit), has_space=spool.reserve.is_kept)
    port = listener.start()
    try:
        life.ready(f"on {settings.listener.host}:{port} as {', '.join(settings.called_ae_titles)}")
        repeat(life, WATCH_SECONDS, lambda: _queue_quiet_series(settings, book, audit))
    finally:
        listener.stop()


def _queue_quiet_series(settings: Config, book: Store, audit: Audit) -> bool:
    jobs = complete_quiet_series(book, system_clock, settings.arrivals.quiet_seconds)
    for job in jobs:
        audit.job_queued(job, len(book.instance_paths(job)))
        LOG.info("job %s: queued, its series is complete", job.id)
    return bool(jobs)


def work(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Segment one job after the other with warm models; SIGHUP reads the rules anew between two jobs."""
    from daemon.models import resident_models  # torch loads only in the worker's process
    from daemon.worker import Worker

    identity = this_process("worker")
    models = resident_models(settings)
    worker = Worker(
        store=book,
        results=Results(settings.folders.results),
        audit=audit,
        models=models,
        settings=settings,
        ruleset=checked_rules(settings),
        identity=identity,
        alive=life.alive,
        stop=life.stop,
    )
    models.segmenter(None)
    life.ready(f"on {models.device} with weights {models.default}, {len(worker.ruleset.rules)} rules")

    def once() -> bool:
        if life.reload.is_set():
            life.reload.clear()
            worker.ruleset = reloaded(settings, worker.ruleset)
        for job in book.recover(identity.host, identity.boot_id, process_is_alive, settings.worker.attempts):
            LOG.warning("job %s: taken back from a worker that is gone, now %s", job.id, job.state.value)
            if job.state is JobState.QUARANTINED:
                audit.job_quarantined(job, job.error_code or "")
        return worker.work_once()

    repeat(life, WATCH_SECONDS, once)


def deliver(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Send what the outbox holds until every destination has it."""
    destinations = {name: destination_of(settings, name) for name in settings.destinations}

    def send(name: str, paths: Sequence[Path]) -> tuple[SendResult, ...]:
        if name not in destinations:
            known = ", ".join(destinations) or "none"
            raise ConfigError(
                f"destination {name!r}: results wait for it, but the configuration knows only {known}; add it again or cancel"
            )
        return store(destinations[name], paths)

    sender = this_process("delivery")
    # What a dead delivery process had claimed would else wait for its claim to run out.
    book.recover(sender.host, sender.boot_id, process_is_alive, settings.worker.attempts)
    life.ready(f"to {', '.join(destinations) or 'no destination'}")
    repeat(life, WATCH_SECONDS, lambda: deliver_once(book, send, DeliveryAudit(audit)) > 0)


ROLES: Mapping[str, Callable[[Config, Store, Audit, Life], None]] = {"listener": listen, "worker": work, "delivery": deliver}
"""The roles in starting order."""


def store_settings(settings: Config) -> StoreSettings:
    """Return the store's waits: a delivery's backoff is the configured one."""
    waits = settings.delivery
    backoff = Backoff(minimum_seconds=waits.retry_minimum_seconds, maximum_seconds=waits.retry_maximum_seconds)
    return StoreSettings(delivery_backoff=backoff)


LISTENERS: Mapping[str, type[Listener] | type[ReferenceListener]] = {"direct": Listener, "pynetdicom": ReferenceListener}
"""`listener.data_path` -> what listens."""


def spool_of(settings: Config) -> Spool:
    """Return the spool, whose reserve is kept wherever database and audit trail are written."""
    settings.folders.audit.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Spool(
        settings.folders.spool,
        settings.spool.reserve_mib * 2**20,
        system_clock,
        also_reserved=(settings.folders.state, settings.folders.audit),
        maximum_instance_bytes=settings.spool.maximum_instance_mib * 2**20,
    )


def listener_settings(settings: Config) -> ListenerSettings:
    """Return the listener's settings as `dicom_io` knows them."""
    own = settings.listener
    return ListenerSettings(
        host=own.host,
        port=own.port,
        ae_titles=settings.called_ae_titles,
        peers=tuple(
            Peer(
                ae_title=peer.ae_title,
                networks=peer.networks,
                rights=frozenset(Right(right) for right in peer.rights),
                maximum_associations=peer.maximum_associations,
                certificates=frozenset(peer.certificate_sha256),
            )
            for peer in own.peers
        ),
        tls=tls_settings(settings),
        maximum_pdu_size=own.maximum_pdu_bytes,
        door=DoorSettings(
            maximum_associations=own.maximum_associations,
            maximum_associations_per_peer=own.maximum_associations_per_peer,
            associations_per_minute=own.associations_per_minute,
        ),
        network_timeout_seconds=own.network_timeout_seconds,
        acse_timeout_seconds=own.acse_timeout_seconds,
    )


def tls_settings(settings: Config) -> TlsSettings | None:
    """Return the listener's TLS files, None where it listens in the clear."""
    own = settings.listener.tls
    if own is None:
        return None
    return TlsSettings(
        certificate=own.certificate,
        private_key=own.private_key,
        trusted_certificates=own.trusted_certificates,
        requires_peer_certificate=own.require_peer_certificate,
    )


def destination_of(settings: Config, name: str) -> Destination:
    """Return a configured destination as `dicom_io` knows it."""
    own = settings.destinations[name]
    return Destination(
        name=name,
        host=own.host,
        port=own.port,
        ae_title=own.ae_title,
        calling_ae_title=own.calling_ae_title or settings.ae_title,
        connection_timeout_seconds=own.timeout_seconds,
    )


def reloaded(settings: Config, current: RuleSet) -> RuleSet:
    """Return the rules as they are on disk now, or the current ones where the new cannot be used."""
    try:
        ruleset = checked_rules(settings)
    except ConfigFaults as error:
        LOG.error("the rules stay as they were, since the new ones have faults:\n%s", error)
        return current
    LOG.info("rules read anew: %d", len(ruleset.rules))
    return ruleset
