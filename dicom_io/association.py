"""One association as its acceptor sees it (PS3.8 section 9.2): who asks, the messages, the release; a thread each."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import traceback
from collections.abc import Callable

from dicom_io.acceptance import Acceptance, AssociationRequest
from dicom_io.admission import Peer, Rejection, Request, judge_request
from dicom_io.association_log import AssociationEventKind, AssociationLog
from dicom_io.connection import Connection, ConnectionEnded, HandshakeFailed, PeerSilent
from dicom_io.door import Door
from dicom_io.guarded_intake import GuardedIntake
from dicom_io.message import MessageReader
from dicom_io.other_services import Commitment
from dicom_io.pdu import MAXIMUM_REQUEST_BYTES, PDU_HEADER, RELEASE_RP, AbortReason, MalformedPdu, PduType, abort, reject
from dicom_io.received import Intake, StoreOutcome

LOG = logging.getLogger(__name__)
KNOWN_TYPES = frozenset(PduType)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptorSettings:
    """What every association of a listener shares."""

    ae_titles: tuple[str, ...]
    peers: tuple[Peer, ...]
    maximum_pdu_size: int
    artim_seconds: float
    """How long a connection may take to request an association, and to close after our last word."""
    dimse_timeout_seconds: float
    """How long a command set may take to be complete."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Services:
    """What an association leads to."""

    intake: Intake
    door: Door
    log: AssociationLog
    commitment: Commitment | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caller:
    """Who is on the other end of a connection."""

    address: str
    certificate: str | None = None
    """SHA-256 fingerprint of its TLS certificate, in lower-case hexadecimal; None without one."""


Connect = Callable[[], tuple[Connection, Caller]]
"""Makes the connection ready (a TLS handshake, say) in the association's own thread; raises ConnectionEnded or PeerSilent."""


class Association(threading.Thread):
    """The thread of one connection; it ends with it, whatever the peer does."""

    def __init__(
        self, settings: AcceptorSettings, services: Services, connect: Connect, on_end: Callable[[Association], None] = lambda _ended: None
    ) -> None:
        """`on_end` hears of the end of the connection."""
        super().__init__(name="association", daemon=True)
        self._settings = settings
        self._services = services
        self._connect = connect
        self._on_end = on_end
        self._guarded = GuardedIntake(services.intake, lambda error: services.log.store_failed(self, error))
        self._connection: Connection | None = None
        self._is_stopping = False
        self.is_established = False

    def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            self._connection, caller = self._connect()
            self.converse(self._connection, caller)
        except HandshakeFailed as error:
            LOG.warning("a connection was refused: %s", error, extra={"action": "tls_refused"})
            if self._services.door.knock(error.address) <= 1:
                stranger = Request(calling_ae_title="", called_ae_title="", peer_address=error.address)
                self._services.log.rejected(stranger, Rejection.TLS)
        except (ConnectionEnded, PeerSilent) as error:
            LOG.debug("a connection ended before an association: %s", error)
        except Exception as error:  # noqa: BLE001  # the association's boundary: a fault of ours ends this association alone
            trace = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("an association failed: %s\n%s", type(error).__name__, trace, extra={"action": "association_failed"})
        finally:
            if self._connection is not None:
                self._connection.close()
            self._on_end(self)

    def stop(self) -> None:
        """Make the thread abort its association; called from another thread."""
        self._is_stopping = True
        if self._connection is not None:
            self._connection.stop_reading()

    def converse(self, connection: Connection, caller: Caller) -> None:
        """Serve a connection that is ready; raises nothing, whatever the peer sends or leaves out."""
        try:
            agreed = self._associate(connection, caller)
            if agreed is None:
                connection.wait_for_end(self._settings.artim_seconds)
                return
        except MalformedPdu as error:
            LOG.debug("no association with %s: %s", caller.address, error)
            self._part(connection, abort(error.reason))
            return
        except (ConnectionEnded, PeerSilent):
            return  # a health probe, or a peer that did not come to the point within its time
        request, acceptance = agreed
        messages = MessageReader(connection, acceptance, request, self._guarded, self._count, self._services.commitment)
        kind, farewell = AssociationEventKind.ABORTED, abort(AbortReason.NOT_SPECIFIED)
        try:
            kind, farewell = self._serve(connection, messages)
        finally:
            self.is_established = False
            messages.drop()
            self._services.door.leave(request)
            self._services.log.ended(self, kind)
        self._part(connection, farewell)

    def _associate(self, connection: Connection, caller: Caller) -> tuple[Request, Acceptance] | None:
        """Answer the A-ASSOCIATE-RQ; None: it was rejected, or never came."""
        connection.limit(self._settings.artim_seconds)
        kind, length = PDU_HEADER.unpack(connection.exactly(PDU_HEADER.size))
        if kind == PduType.ABORT:
            return None
        if kind != PduType.ASSOCIATE_RQ or length > MAXIMUM_REQUEST_BYTES - PDU_HEADER.size:
            raise _unexpected(kind, length)
        encoded = PDU_HEADER.pack(kind, length) + connection.exactly(length)
        refusals = self._services.door.knock(caller.address)
        if refusals:
            # Told once: a flood must not become a flood of audit records.
            unread = Request(calling_ae_title="", called_ae_title="", peer_address=caller.address)
            self._reject(connection, unread, Rejection.RATE, is_told=refusals == 1)
            return None
        asked = AssociationRequest(encoded, caller.address)
        verdict = self._judge(asked, caller)
        if isinstance(verdict, Rejection):
            self._reject(connection, asked.request, verdict)
            return None
        self._services.log.associated(self, asked.request)
        connection.limit(None)
        self.is_established = True
        try:
            connection.send(verdict.pdu)
        except (ConnectionEnded, PeerSilent):
            LOG.debug("%s left before its association was accepted", caller.address)  # the next read ends the association in order
        return asked.request, verdict

    def _judge(self, asked: AssociationRequest, caller: Caller) -> Acceptance | Rejection:
        """Admit, negotiate and let in, in this order, so that only a peer that is let in counts."""
        if not asked.has_our_version:
            return Rejection.PROTOCOL_VERSION
        verdict = judge_request(asked.request, self._settings.ae_titles, self._settings.peers, caller.certificate)
        if isinstance(verdict, Rejection):
            return verdict
        acceptance = asked.accept(verdict.rights, self._settings.maximum_pdu_size, serves_commitment=self._services.commitment is not None)
        return self._services.door.enter(asked.request, verdict) or acceptance

    def _serve(self, connection: Connection, messages: MessageReader) -> tuple[AssociationEventKind, bytes]:
        """Answer messages until the association ends; return how it ended, and our last word."""
        largest = self._settings.maximum_pdu_size
        try:
            while True:
                kind, length = PDU_HEADER.unpack(connection.exactly(PDU_HEADER.size))
                if kind == PduType.P_DATA and (length <= largest or not largest):
                    was_within = messages.is_within_command
                    messages.read(length)
                    if messages.is_within_command != was_within:
                        connection.limit(None if was_within else self._settings.dimse_timeout_seconds)
                elif kind == PduType.RELEASE_RQ:
                    return AssociationEventKind.RELEASED, RELEASE_RP
                elif kind == PduType.ABORT:
                    return AssociationEventKind.ABORTED, b""
                else:
                    raise _unexpected(kind, length)
        except MalformedPdu as error:
            LOG.warning("an association was aborted: %s", error, extra={"action": "association_aborted"})
            return AssociationEventKind.ABORTED, abort(error.reason)
        except PeerSilent:
            return AssociationEventKind.ABORTED, abort(AbortReason.NOT_SPECIFIED)
        except ConnectionEnded:
            return AssociationEventKind.ABORTED, abort(AbortReason.NOT_SPECIFIED) if self._is_stopping else b""

    def _count(self, outcome: StoreOutcome) -> None:
        self._services.log.count(self, outcome)

    def _reject(self, connection: Connection, request: Request, rejection: Rejection, *, is_told: bool = True) -> None:
        if is_told:
            self._services.log.rejected(request, rejection)
        connection.send(reject(*rejection.result_source_reason))

    def _part(self, connection: Connection, farewell: bytes) -> None:
        """Say our last word, and let the peer close first."""
        if farewell:
            with contextlib.suppress(ConnectionEnded, PeerSilent):
                connection.send(farewell)
                connection.wait_for_end(self._settings.artim_seconds)


def _unexpected(kind: int, length: int) -> MalformedPdu:
    if kind not in KNOWN_TYPES:
        return MalformedPdu(AbortReason.UNRECOGNIZED_PDU, f"expected a PDU, got one of type 0x{kind:02X}")
    return MalformedPdu(AbortReason.UNEXPECTED_PDU, f"expected another PDU, got {PduType(kind).name} of {length} bytes")
