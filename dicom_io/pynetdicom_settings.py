"""What we change in pynetdicom, and why: its switches belong to the whole process, so they are set in this one place."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

STORAGE_SERVICE_CLASS_UID = "1.2.840.10008.4.2"
"""The Storage Service Class (PS3.6 table A-1)."""
MAXIMUM_CONTEXTS = 128
"""Presentation context IDs are the odd numbers from 1 to 255 (PS3.8 section 9.3.2.2)."""


def configure_pynetdicom() -> None:
    """Set the process-wide switches; calling it again changes nothing."""
    # The standard event log costs some 10 % of the time of a C-STORE and writes the identifiers of patients' objects.
    _config.LOG_HANDLER_LEVEL = "none"
    # Send a file's bytes as they lie on the disk; otherwise the data set is decoded and encoded again.
    _config.STORE_SEND_CHUNKED_DATASET = True
    # A received data set stays in memory until the spool has written it: pynetdicom's own temporary files are
    # neither fsynced nor removed when an association breaks.
    _config.STORE_RECV_CHUNKED_DATASET = False
    # This switch would take the sender's first transfer syntax, whatever it is; dicom_io.negotiation decides instead.
    _config.UNRESTRICTED_STORAGE_SERVICE = False
    # Its messages on refused connections and broken associations come to us as typed errors and events.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class ClosingSocket(AssociationSocket):
    """A socket that is closed even where there is nothing to shut down.

    pynetdicom's own stays open, until it is collected, when the connection failed or the peer hung up first.
    """

    def _shutdown_socket(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class RequestorEntity(AE):
    """An application entity whose outgoing associations leave no socket open, and know that they were rejected."""

    def request(
        self,
        host: str,
        port: int,
        *,
        ae_title: str,
        contexts: list[PresentationContext],
        evt_handlers: Sequence[evt.EventHandlerType] = (),
        **options: Any,
    ) -> Association:
        """Request an association, as `associate` does, which takes the same options.

        A rejection that comes before pynetdicom's own thread has looked whether there is a connection counts there as none:
        the peer's reason would be lost.
        """
        rejections: list[A_ASSOCIATE_RJ] = []
        handlers: list[evt.EventHandlerType] = [*evt_handlers, (evt.EVT_PDU_RECV, _keep_rejection, [rejections])]
        association = self.associate(host, port, contexts, ae_title, evt_handlers=handlers, **options)
        if rejections and not association.is_rejected:
            association.acceptor.primitive = rejections[0].to_primitive()
            association.is_rejected, association.is_aborted = True, False
        return association

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        created = ClosingSocket(assoc, address=address)
        created.tls_args = tls_args
        return created


def _keep_rejection(event: evt.Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


def tune_socket(event: evt.Event) -> None:
    """Send small packets at once, and let no silent peer hold a thread for ever (a handler of EVT_CONN_OPEN).

    Without TCP_NODELAY, Nagle's algorithm and delayed acknowledgements cost some 40 ms an instance. pynetdicom reads a
    PDU with a blocking `recv`, so that only a time-out of the socket ends a PDU that a peer never finishes.
    """
    connection = _connection(event.assoc)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(event.assoc.network_timeout)


def end_unused_connection(event: evt.Event) -> None:
    """End the thread of a connection that closed before it asked for an association (a handler of EVT_CONN_CLOSE).

    pynetdicom lets that thread wait out the ACSE time-out, and counts it as an association meanwhile: a load balancer's
    health probes would use up `maximum_associations`.
    """
    if event.assoc.is_acceptor and event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)  # read as "no request came"


def _connection(association: Association) -> socket.socket | None:
    return association.dul.socket.socket if association.dul.socket is not None else None
