"""What each role builds from the configuration, and its loop: listener, worker, delivery."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial

from daemon.atna import AuditSource
from daemon.audit import Audit
from daemon.audit_forwarding import Forwarder, patients_in
from daemon.audit_observers import AssociationAudit, DeliveryAudit, ReceiptAudit
from daemon.child import Life, repeat
from daemon.clock import system_clock
from daemon.commitment_reports import ReportKeeper, answer_message
from daemon.config import Config
from daemon.delivery import Desk
from daemon.delivery_loops import DeliveryLoops
from daemon.errors import ConfigError
from daemon.housekeeping import Housekeeping, recover_jobs
from daemon.inbox import open_inbox
from daemon.own_results import Arrivals as Recorder
from daemon.receiver import Receiver
from daemon.routes import routes_of, tls_context
from daemon.rules_in_use import checked_rules, reloaded
from daemon.sender_watch import SenderWatch, each_of
from daemon.spool import Spool
from daemon.store import (
    Results,
    Store,
    process_is_alive,
    this_process,
)
from daemon.study_limit import StudyLimit
from daemon.syslog_tls import Repository
from daemon.syslog_tls import send as send_syslog
from dicom_io.listener import DoorSettings, Listener, ListenerSettings, Peer, Right
from dicom_io.other_services import Commitment
from dicom_io.reference_listener import ReferenceListener
from dicom_io.tls import TlsSettings

LOG = logging.getLogger("medsam2d.roles")
FORWARD_SECONDS = 5.0
"""How often the audit trail is looked at for what its repository has not read."""
DELIVERY_DRAIN_SECONDS = 30.0
"""How long an object that is on its way is waited for when the service stops."""
WATCH_SECONDS = 0.5
"""How often a loop looks for work that nobody announces: a quiet series, a queued job, a due delivery."""


def listen(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Receive instances, and turn series that have gone quiet into jobs."""
    spool = spool_of(settings)
    spool.sweep()
    identity = this_process("listener")
    book.forget_dead_listeners(identity.host, identity.boot_id, process_is_alive)
    recorder = Recorder(store=book, uid_root=settings.result.uid_root, manufacturer=settings.result.manufacturer)
    limit = StudyLimit(settings.spool.maximum_study_mib * 2**20, book.study_bytes)
    receiver = Receiver(spool, recorder.record_all, ReceiptAudit(audit), limit)
    # A crash between a file and its row leaves a file that nobody was told was kept: it is taken in as if it had come now.
    found = book.reconcile(spool.instances(book.known), receiver.take_in)
    if found:
        LOG.warning("%d instances in the spool had no row; they are taken in", found)
    reports = ReportKeeper(store=book, observer=DeliveryAudit(audit))
    listener_of = LISTENERS[settings.listener.data_path]
    listener = listener_of(
        listener_settings(settings),
        receiver,
        each_of(AssociationAudit(audit), SenderWatch(book, identity)),
        has_space=spool.reserve.is_kept,
        commitment=_commitment(settings, reports),
    )
    keeper = Housekeeping(settings, book, audit, life)
    port = listener.start()
    inbox = open_inbox(settings.inbox, settings.ae_title, receiver.receive, life.stop)
    try:
        life.ready(f"on {settings.listener.host}:{port} as {', '.join(settings.called_ae_titles)}")
        repeat(life, WATCH_SECONDS, keeper.once)
    finally:
        if inbox is not None:
            inbox.stop()
        listener.stop()


def work(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Segment one job after the other with warm models; SIGHUP reads the rules anew between two jobs."""
    from daemon.corrections import examine_conflicts  # torch and the codecs load only in the worker's process
    from daemon.mask_shelf import MaskShelf
    from daemon.models import resident_models
    from daemon.result_pictures import ResultPictures
    from daemon.worker import Worker

    identity = this_process("worker")
    models = resident_models(settings)
    results, shelf = Results(settings.folders.results), MaskShelf(settings.folders.masks)
    swept = results.sweep() + shelf.sweep()
    if swept:
        LOG.warning("%d unfinished files of a worker that was ended are removed", swept)
    worker = Worker(
        store=book,
        results=results,
        audit=audit,
        models=models,
        settings=settings,
        ruleset=checked_rules(settings),
        identity=identity,
        alive=life.alive,
        stop=life.stop,
        shelf=shelf,
        pictures=ResultPictures(settings.folders.pictures) if settings.web is not None and settings.web.pictures else None,
    )
    models.warm_up()
    life.ready(f"on {models.device} with weights {models.default}, {len(worker.ruleset.rules)} rules")

    def once() -> bool:
        if life.reload.is_set():
            life.reload.clear()
            worker.ruleset = reloaded(settings, worker.ruleset)
        recover_jobs(settings, book, audit, identity)
        examined = examine_conflicts(book, audit)  # here, since a worker decodes pixels anyway and a codec's fault ends no reception
        return worker.work_once() or examined > 0

    repeat(life, WATCH_SECONDS, once)


def deliver(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Send what the outbox holds until every destination has it."""
    sender = this_process("delivery")
    desk = Desk(store=book, clock=system_clock, observer=DeliveryAudit(audit), worker=sender, is_stopping=life.stop.is_set)
    loops = DeliveryLoops(routes=routes_of(settings), desk=desk, life=life, pause_seconds=WATCH_SECONDS)
    # What a dead delivery process had claimed would else wait for its claim to run out.
    recover_jobs(settings, book, audit, sender)
    loops.start()
    forwarding = start_forwarding(settings, life)
    life.ready(f"to {', '.join(settings.destinations) or 'no destination'}")

    def watch() -> bool:
        if not loops.alive():
            raise RuntimeError("the loop of a destination has ended; this process must be started again")
        if forwarding is not None and not forwarding.is_alive():
            LOG.error("the forwarding of audit messages has ended by a fault of ours; nothing is lost: report it, and restart the service")
        loops.postpone_strangers()
        return False

    repeat(life, WATCH_SECONDS, watch)
    loops.join(DELIVERY_DRAIN_SECONDS)


def start_forwarding(settings: Config, life: Life) -> threading.Thread | None:
    """Forward the audit trail to the configured repository, in a thread of its own; nothing where none is configured."""
    own = settings.audit.syslog
    if own is None:
        return None
    repository = Repository(host=own.host, port=own.port, tls=tls_context("audit.syslog.tls", own.tls))
    forwarder = Forwarder(
        folder=settings.folders.audit,
        source=source_of(settings),
        patient_of=patients_in(settings.folders.spool),
        send=lambda frames: send_syslog(repository, frames),
    )
    quiet = Life(supervised=False, stop=life.stop)
    work = (quiet, FORWARD_SECONDS, forwarder.forward_once)
    thread = threading.Thread(target=repeat, args=work, name="audit-forwarding", daemon=True)
    thread.start()
    return thread


def source_of(settings: Config) -> AuditSource:
    """Return who we are in audit messages."""
    return AuditSource(
        source_id=settings.audit.source_id or socket.gethostname(),
        enterprise_site_id=settings.audit.enterprise_site_id or "",
        ae_titles=settings.called_ae_titles,
    )


def show(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Serve status page, metrics and health checks."""
    from daemon.web.server import serve_pages  # the web framework loads only in this process

    if settings.web is None:
        raise ConfigError("web: expected settings for the status page, got none; add `web: {port: 8119}` to the configuration")
    serve_pages(settings, settings.web, book, audit, life)


def notify_people(settings: Config, book: Store, audit: Audit, life: Life) -> None:
    """Tell people over the configured channels what needs them."""
    from daemon.notifications.notifier import tell_people  # mail and HTTP load only in this process

    if settings.notifications is None:
        raise ConfigError("notifications: expected settings with channels, got none; see docs/notifications.md")
    tell_people(settings, settings.notifications, book, life)


ROLES: Mapping[str, Callable[[Config, Store, Audit, Life], None]] = {
    "listener": listen,
    "worker": work,
    "delivery": deliver,
    "web": show,
    "notifier": notify_people,
}
"""The roles in starting order."""
SIDE_ROLES = frozenset({"web", "notifier"})
"""Roles that run only where they are configured, and that no image waits for: the service goes on without one that fails."""


def roles_of(settings: Config) -> tuple[str, ...]:
    """Return the roles that the service runs, in starting order."""
    configured = {"web": settings.web, "notifier": settings.notifications}
    return tuple(role for role in ROLES if role not in SIDE_ROLES or configured[role] is not None)


def _commitment(settings: Config, reports: ReportKeeper) -> Commitment | None:
    """What handles storage commitment at our port; None on the plain data path, which does not serve it."""
    return None if settings.listener.data_path == "pynetdicom" else partial(answer_message, keep=reports)


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
