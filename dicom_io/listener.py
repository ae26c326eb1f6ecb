"""The listener: associations on one port, each C-STORE handed on as the bytes that were sent, each C-ECHO answered."""

from __future__ import annotations

import dataclasses
import errno
import logging
import socket
import time
import traceback
from collections.abc import Callable
from typing import cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassCommonExtendedNegotiation
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from dicom_io.admission import ADMITTED, Peer, Rejection, Request, judge_request
from dicom_io.association_log import AssociationEvent, AssociationEventKind, AssociationLog
from dicom_io.commitment import Keep, commitment_context, commitment_handler
from dicom_io.errors import PortUnavailable
from dicom_io.negotiation import KNOWN_STORAGE_CLASSES, is_storage_class, supported_contexts
from dicom_io.pynetdicom_settings import STORAGE_SERVICE_CLASS_UID, configure_pynetdicom, end_unused_connection, tune_socket
from dicom_io.received import ReceivedInstance, StoreOutcome

__all__ = [
    "AssociationEvent",
    "AssociationEventKind",
    "Listener",
    "ListenerSettings",
    "Observe",
    "Peer",
    "ReceivedInstance",
    "Store",
    "StoreOutcome",
]

Store = Callable[[ReceivedInstance], StoreOutcome]
"""Keeps an instance and says how the C-STORE is answered; called in the thread of its association."""
Observe = Callable[[AssociationEvent], None]
"""Hears of every association; called in the thread of that association."""

WAITING_CONNECTIONS = 128
"""How many connections the kernel holds for us while we are busy accepting others."""
LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """Where we listen, under which names, and for whom."""

    host: str = "127.0.0.1"
    port: int
    """0 picks a free one; `Listener.start` returns it."""
    ae_titles: tuple[str, ...]
    """The called AE titles that we answer to."""
    peers: tuple[Peer, ...]
    """Who may associate; nobody else may, and an empty tuple admits nobody."""
    maximum_pdu_size: int = 131072
    """Bytes of one PDU that we accept; 0: unlimited. DCMTK sends no larger ones than this default."""
    maximum_associations: int = 64
    network_timeout_seconds: float = 60.0
    """How long an association may be silent."""
    acse_timeout_seconds: float = 30.0
    """How long a connection may take to request an association."""
    dimse_timeout_seconds: float = 30.0
    """How long a DIMSE message may take to be complete."""


class Listener:
    """A Storage and Verification SCP (PS3.4 annexes A and B)."""

    def __init__(self, settings: ListenerSettings, store: Store, observe: Observe, report: Keep | None = None) -> None:
        """`report` keeps the storage commitment reports that peers bring; without it that service is not offered."""
        configure_pynetdicom()
        self._report = report
        self._settings = settings
        self._store = store
        self._log = AssociationLog(observe)
        self._server: ThreadedAssociationServer | None = None

    @property
    def active_associations(self) -> int:
        """How many peers are associated now."""
        return self._log.active

    def start(self) -> int:
        """Listen, and return the port; raises PortUnavailable where the port cannot be had."""
        settings = self._settings
        entity = AE(ae_title=settings.ae_titles[0])
        entity.add_supported_context(Verification)  # replaced for each association by what its peer offers
        entity.require_called_aet = False  # judged in _on_requested: one AE of pynetdicom has one title, we may have several
        entity.maximum_pdu_size = settings.maximum_pdu_size
        entity.maximum_associations = settings.maximum_associations
        entity.network_timeout = settings.network_timeout_seconds
        entity.acse_timeout = settings.acse_timeout_seconds
        entity.dimse_timeout = settings.dimse_timeout_seconds
        try:
            # Only a blocking start returns no server.
            server = cast(
                ThreadedAssociationServer,
                entity.start_server((settings.host, settings.port), block=False, evt_handlers=self._handlers()),
            )
        except OSError as error:
            raise _port_unavailable(settings, error) from error
        cast(socket.socket, server.socket).listen(WAITING_CONNECTIONS)
        self._server = server
        return int(server.server_address[1])

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no new association, give those that are active `drain_seconds` to end, then abort them. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        deadline = time.monotonic() + drain_seconds
        for association in server.active_associations:
            association.join(max(0.0, deadline - time.monotonic()) if association.is_established else 0.0)
        for association in server.active_associations:
            association.abort()

    def _handlers(self) -> list[evt.EventHandlerType]:
        log = self._log
        return [
            (evt.EVT_CONN_OPEN, tune_socket),
            (evt.EVT_CONN_CLOSE, end_unused_connection),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, _on_common_extended),
            (evt.EVT_REJECTED, lambda event: log.rejected(_request(event.assoc), Rejection.LOCAL_LIMIT)),
            (evt.EVT_ESTABLISHED, lambda event: log.associated(event.assoc, _request(event.assoc))),
            (evt.EVT_RELEASED, lambda event: log.ended(event.assoc, AssociationEventKind.RELEASED)),
            (evt.EVT_ABORTED, lambda event: log.ended(event.assoc, AssociationEventKind.ABORTED)),
            (evt.EVT_C_ECHO, lambda _event: int(StoreOutcome.SUCCESS)),
            (evt.EVT_C_STORE, self._on_store),
            *([commitment_handler(self._report)] if self._report is not None else ()),
        ]

    def _on_requested(self, event: evt.Event) -> None:
        """Admit or reject; without this an association has no storage context, so that a fault here stays closed."""
        association = event.assoc
        request = _request(association)
        verdict = judge_request(request, self._settings.ae_titles, self._settings.peers)
        if verdict is ADMITTED:
            primitive = cast(A_ASSOCIATE, association.requestor.primitive)
            contexts = supported_contexts(primitive.presentation_context_definition_list)
            reports = [commitment_context(as_listener=True)] if self._report is not None else []
            association.acceptor.supported_contexts = [*contexts, *reports]
            return
        association.acse.send_reject(*verdict.result_source_reason)
        self._log.rejected(request, verdict)
        association.kill()

    def _on_store(self, event: evt.Event) -> int:
        """Hand one C-STORE on. A fault of ours must be answered as a failure and never end the listener."""
        try:
            outcome = self._store(_received(event))
        except Exception as error:  # noqa: BLE001  # the association's boundary: whatever failed, the peer keeps its instance
            # Only where it happened: an exception's own words may quote a patient's data.
            trace = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("a C-STORE could not be handled: %s\n%s", type(error).__name__, trace, extra={"action": "store_failed"})
            self._log.store_failed(event.assoc, error)
            outcome = StoreOutcome.CANNOT_UNDERSTAND
        self._log.count(event.assoc, outcome)
        return int(outcome)


def _on_common_extended(event: evt.Event) -> dict[str, SOPClassCommonExtendedNegotiation]:
    """Say which accepted classes belong to the storage service, for those that pynetdicom does not know (PS3.7 section D.3.3.6)."""
    uids = {str(context.abstract_syntax) for context in event.assoc.acceptor.supported_contexts}
    return {uid: _storage_item(uid) for uid in uids if is_storage_class(uid) and uid not in KNOWN_STORAGE_CLASSES}


def _storage_item(uid: str) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid = uid
    item.service_class_uid = STORAGE_SERVICE_CLASS_UID
    return item


def _request(association: Association) -> Request:
    """Who asks for the association, and under which of our names."""
    primitive = association.requestor.primitive
    return Request(
        calling_ae_title=str(getattr(primitive, "calling_ae_title", "") or "").strip(),
        called_ae_title=str(getattr(primitive, "called_ae_title", "") or "").strip(),
        peer_address=str(association.requestor.address_info.address) if association.requestor.address_info else "",
    )


def _received(event: evt.Event) -> ReceivedInstance:
    command, request = cast(C_STORE, event.request), _request(event.assoc)
    return ReceivedInstance(
        sop_class_uid=str(command.AffectedSOPClassUID),
        sop_instance_uid=str(command.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=request.calling_ae_title,
        called_ae_title=request.called_ae_title,
        peer_address=request.peer_address,
        encoded=event.encoded_dataset(include_meta=False) if command.DataSet is not None else b"",
    )


def _port_unavailable(settings: ListenerSettings, error: OSError) -> PortUnavailable:
    cures = {
        errno.EADDRINUSE: "another process listens there: end it (`ss -ltnp` names it) or choose another port",
        errno.EACCES: "ports below 1024 need a privilege: choose another, or give the service CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "this machine has no such address: correct the host",
    }
    cure = cures.get(error.errno or 0, "correct the host and the port")
    return PortUnavailable(f"listener: expected to listen on {settings.host}:{settings.port}, got {error.strerror or error}; {cure}")
