"""The reference listener: the same service on pynetdicom's own data path, slower and plainer, which the other is tested against."""

from __future__ import annotations

import socket
import threading
import time
from typing import cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE, SOPClassCommonExtendedNegotiation
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from dicom_io.admission import Rejection, Request, Right, judge_request
from dicom_io.association_log import AssociationEventKind, AssociationLog, Observe
from dicom_io.door import Door, HasSpace
from dicom_io.errors import PortUnavailable
from dicom_io.guarded_intake import GuardedIntake
from dicom_io.listener_settings import WAITING_CONNECTIONS, ListenerSettings, port_unavailable
from dicom_io.negotiation import KNOWN_STORAGE_CLASSES, is_storage_class, supported_contexts
from dicom_io.other_services import Commitment
from dicom_io.pynetdicom_settings import STORAGE_SERVICE_CLASS_UID, configure_pynetdicom, end_unused_connection, tune_socket
from dicom_io.received import Intake, StoreCommand, StoreOutcome


class ReferenceListener:
    """A Storage and Verification SCP (PS3.4 annexes A and B), each instance whole in memory, without TLS and storage commitment."""

    def __init__(
        self,
        settings: ListenerSettings,
        intake: Intake,
        observe: Observe,
        *,
        has_space: HasSpace = lambda: True,
        commitment: Commitment | None = None,
    ) -> None:
        """Raises PortUnavailable where TLS or storage commitment is asked for: an idle connection would block pynetdicom's TLS."""
        if settings.tls is not None or commitment is not None:
            raise PortUnavailable(
                "listener: pynetdicom's data path serves neither TLS nor storage commitment; set `listener.data_path: direct`"
            )
        configure_pynetdicom()
        self._settings = settings
        self._intake = intake
        self._log = AssociationLog(observe)
        self._door = Door(settings.door, has_space)
        self._admitted: dict[Association, Request] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None

    @property
    def active_associations(self) -> int:
        """How many peers are associated now."""
        return self._door.active

    def start(self) -> int:
        """Listen, and return the port; raises PortUnavailable where the port cannot be had."""
        settings = self._settings
        entity = AE(ae_title=settings.ae_titles[0])
        entity.add_supported_context(Verification)  # replaced for each association by what its peer offers
        entity.require_called_aet = False  # judged in _on_requested: one AE of pynetdicom has one title, we may have several
        entity.maximum_pdu_size = settings.maximum_pdu_size
        entity.maximum_associations = 2 * settings.door.maximum_associations  # the door counts associations, this also connections
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
            raise port_unavailable(settings, error) from error
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
            (evt.EVT_CONN_CLOSE, self._on_closed),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_SOP_COMMON, _on_common_extended),
            (evt.EVT_REJECTED, lambda event: log.rejected(_request(event.assoc), Rejection.LOCAL_LIMIT)),
            (evt.EVT_ESTABLISHED, lambda event: log.associated(event.assoc, _request(event.assoc))),
            (evt.EVT_RELEASED, lambda event: log.ended(event.assoc, AssociationEventKind.RELEASED)),
            (evt.EVT_ABORTED, lambda event: log.ended(event.assoc, AssociationEventKind.ABORTED)),
            (evt.EVT_C_ECHO, lambda _event: int(StoreOutcome.SUCCESS)),
            (evt.EVT_C_STORE, self._on_store),
        ]

    def _on_requested(self, event: evt.Event) -> None:
        """Admit or reject; without this an association has no storage context, so that a fault here stays closed."""
        association = event.assoc
        request = _request(association)
        refusals = self._door.knock(request.peer_address)
        if refusals:
            self._reject(association, request, Rejection.RATE, is_told=refusals == 1)
            return
        verdict = judge_request(request, self._settings.ae_titles, self._settings.peers)
        if isinstance(verdict, Rejection):
            self._reject(association, request, verdict)
            return
        closed = self._door.enter(request, verdict)
        if closed is not None:
            self._reject(association, request, closed)
            return
        with self._lock:
            self._admitted[association] = request
        primitive = cast(A_ASSOCIATE, association.requestor.primitive)
        rights = verdict.rights - {Right.COMMIT}
        association.acceptor.supported_contexts = supported_contexts(primitive.presentation_context_definition_list, rights)

    def _reject(self, association: Association, request: Request, rejection: Rejection, *, is_told: bool = True) -> None:
        association.acse.send_reject(*rejection.result_source_reason)
        if is_told:
            self._log.rejected(request, rejection)
        association.kill()

    def _on_closed(self, event: evt.Event) -> None:
        end_unused_connection(event)
        with self._lock:
            request = self._admitted.pop(event.assoc, None)
        if request is not None:
            self._door.leave(request)

    def _on_store(self, event: evt.Event) -> int:
        """Hand one C-STORE on."""
        deposit = GuardedIntake(self._intake, lambda error: self._log.store_failed(event.assoc, error)).begin(_command(event))
        command = cast(C_STORE, event.request)
        if command.DataSet is not None:
            deposit.write(event.encoded_dataset(include_meta=False))
        outcome = deposit.keep()
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


def _command(event: evt.Event) -> StoreCommand:
    command, request = cast(C_STORE, event.request), _request(event.assoc)
    return StoreCommand(
        sop_class_uid=str(command.AffectedSOPClassUID),
        sop_instance_uid=str(command.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae_title=request.calling_ae_title,
        called_ae_title=request.called_ae_title,
        peer_address=request.peer_address,
    )
