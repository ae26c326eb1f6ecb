"""The listener: connections on one port, a thread for each association, and every instance's bytes straight to the intake."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time

from dicom_io.admission import Peer, Right
from dicom_io.association import AcceptorSettings, Association, Caller, Services
from dicom_io.association_log import AssociationEvent, AssociationEventKind, AssociationLog, Observe
from dicom_io.connection import Connection, ConnectionEnded
from dicom_io.door import Door, DoorSettings, HasSpace
from dicom_io.listener_settings import WAITING_CONNECTIONS, ListenerSettings, port_unavailable
from dicom_io.other_services import Commitment
from dicom_io.pynetdicom_settings import configure_pynetdicom
from dicom_io.received import Deposit, InMemory, Intake, ReceivedInstance, Store, StoreCommand, StoreOutcome
from dicom_io.tls import TlsIdentity, peer_fingerprint, shake_hands

__all__ = [
    "AssociationEvent",
    "AssociationEventKind",
    "Deposit",
    "DoorSettings",
    "InMemory",
    "Intake",
    "Listener",
    "ListenerSettings",
    "Observe",
    "Peer",
    "ReceivedInstance",
    "Right",
    "Store",
    "StoreCommand",
    "StoreOutcome",
]

LOG = logging.getLogger(__name__)
WAITING_ROOM = 64
"""Connections beside the associations: those that shake hands, ask, probe our health, or have been told to go."""
WAITING_PER_ADDRESS = 16
"""Of these, from one address."""


class Listener:
    """A Storage and Verification SCP (PS3.4 annexes A and B) whose data path is our own; pynetdicom negotiates."""

    def __init__(
        self,
        settings: ListenerSettings,
        intake: Intake,
        observe: Observe,
        *,
        has_space: HasSpace = lambda: True,
        commitment: Commitment | None = None,
    ) -> None:
        """Raises UnusableCertificate where the settings' TLS files cannot be used."""
        configure_pynetdicom()
        self._settings = settings
        self._door = Door(settings.door, has_space)
        self._services = Services(intake=intake, door=self._door, log=AssociationLog(observe), commitment=commitment)
        self._tls = TlsIdentity(settings.tls) if settings.tls else None
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: dict[Association, str] = {}

    @property
    def active_associations(self) -> int:
        """How many peers are associated now."""
        return self._door.active

    def start(self) -> int:
        """Listen, and return the port; raises PortUnavailable where the port cannot be had."""
        settings = self._settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            self._socket = socket.create_server((settings.host, settings.port), family=family, backlog=WAITING_CONNECTIONS)
        except OSError as error:
            raise port_unavailable(settings, error) from error
        port = int(self._socket.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, args=(self._socket,), name="acceptor", daemon=True)
        self._acceptor.start()
        return port

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no new association, give those that are active `drain_seconds` to end, then abort them. Idempotent."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # wakes the acceptor, which close alone would not
        listening.close()
        if self._acceptor is not None:
            self._acceptor.join()
        deadline = time.monotonic() + drain_seconds
        for association in self._present():
            association.join(max(0.0, deadline - time.monotonic()) if association.is_established else 0.0)
        left = self._present()
        for association in left:
            association.stop()
        for association in left:
            association.join(max(1.0, deadline - time.monotonic()))

    def _accept(self, listening: socket.socket) -> None:
        while self._socket is not None:
            try:
                stream, address = listening.accept()
            except OSError as error:
                if self._socket is not None:
                    # Out of descriptors, or a connection that was gone before we came to it: others may still be served.
                    LOG.warning("a connection could not be accepted: %s", error.strerror, extra={"action": "accept_failed"})
                    time.sleep(0.05)
                continue
            self._welcome(stream, str(address[0]))

    def _welcome(self, stream: socket.socket, address: str) -> None:
        """Give a connection its thread, unless the waiting room is full: then it is closed unheard, which costs nothing."""
        with self._lock:
            waiting = [place for association, place in self._connections.items() if not association.is_established]
            is_full = len(waiting) >= WAITING_ROOM or waiting.count(address) >= WAITING_PER_ADDRESS
            if not is_full:
                association = Association(self._acceptor_settings(), self._services, lambda: self._connect(stream, address), self._forget)
                self._connections[association] = address
        if is_full:
            LOG.debug("a connection of %s was closed: too many wait", address)
            stream.close()
            return
        association.start()

    def _connect(self, stream: socket.socket, address: str) -> tuple[Connection, Caller]:
        """Make a connection ready, in its own thread."""
        settings = self._settings
        try:
            # Without TCP_NODELAY, Nagle's algorithm and delayed acknowledgements cost some 40 ms an instance.
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            stream.close()
            raise ConnectionEnded("expected a connection, got one that was gone at once") from error
        if self._tls is None:
            return Connection(stream, settings.network_timeout_seconds), Caller(address=address)
        secured = shake_hands(self._tls.context, stream, address, settings.acse_timeout_seconds)
        return Connection(secured, settings.network_timeout_seconds), Caller(address=address, certificate=peer_fingerprint(secured))

    def _forget(self, association: Association) -> None:
        with self._lock:
            self._connections.pop(association, None)

    def _present(self) -> list[Association]:
        with self._lock:
            return list(self._connections)

    def _acceptor_settings(self) -> AcceptorSettings:
        settings = self._settings
        return AcceptorSettings(
            ae_titles=settings.ae_titles,
            peers=settings.peers,
            maximum_pdu_size=settings.maximum_pdu_size,
            artim_seconds=settings.acse_timeout_seconds,
            dimse_timeout_seconds=settings.dimse_timeout_seconds,
        )
