"""A peer that we call: where it is, how we associate with it, and what is said when it does not work."""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
from collections.abc import Iterator, Sequence

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_io.errors import ContextsRefused, PeerError, PeerRejected, PeerUnreachable
from dicom_io.pynetdicom_settings import MAXIMUM_CONTEXTS, RequestorEntity, configure_pynetdicom, tune_socket


@dataclasses.dataclass(frozen=True, kw_only=True)
class Destination:
    """An application entity that we call, and how."""

    name: str
    host: str
    port: int
    ae_title: str
    """The AE title that we call."""
    calling_ae_title: str
    """Our own; the peer must know it."""
    connection_timeout_seconds: float = 10.0
    acse_timeout_seconds: float = 30.0
    dimse_timeout_seconds: float = 120.0
    """How long the peer may take to answer a C-STORE; an archive may write to tape first."""
    network_timeout_seconds: float = 120.0
    tls: ssl.SSLContext | None = dataclasses.field(default=None, compare=False, repr=False)
    """How to speak TLS (PS3.15 annex B); None: in plain text."""

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title} at {self.host}:{self.port}, called by {self.calling_ae_title})"


@contextlib.contextmanager
def associated(
    destination: Destination, contexts: Sequence[PresentationContext], handlers: Sequence[evt.EventHandlerType] = ()
) -> Iterator[Association]:
    """Associate for the length of the block, then release; abort where the block raises.

    Raises PeerUnreachable, PeerRejected, or ContextsRefused where the peer takes none of `contexts`.
    """
    if len(contexts) > MAXIMUM_CONTEXTS:
        raise ValueError(f"contexts: expected at most {MAXIMUM_CONTEXTS} in one association, got {len(contexts)}; use smaller groups")
    configure_pynetdicom()
    connected: list[bool] = []
    watch: list[evt.EventHandlerType] = [(evt.EVT_CONN_OPEN, tune_socket), (evt.EVT_CONN_OPEN, lambda _event: connected.append(True))]
    try:
        association = _entity(destination).request(
            destination.host,
            destination.port,
            contexts=list(contexts),
            ae_title=destination.ae_title,
            evt_handlers=[*watch, *handlers],
            tls_args=(destination.tls, destination.host) if destination.tls else None,
        )
    except OSError as error:
        raise PeerUnreachable(f"{destination}: expected a host with an address, got {error}; correct the host") from error
    if not association.is_established:
        raise _no_association(destination, association, is_connected=bool(connected))
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    if association.is_established:
        association.release()


def unanswered(destination: Destination, request: str) -> PeerUnreachable:
    """Say that a request got no answer."""
    return PeerUnreachable(f"{destination}: expected an answer to the {request}, got a broken or silent association; see the peer's log")


def _entity(destination: Destination) -> RequestorEntity:
    entity = RequestorEntity(ae_title=destination.calling_ae_title)
    entity.connection_timeout = destination.connection_timeout_seconds
    entity.acse_timeout = destination.acse_timeout_seconds
    entity.dimse_timeout = destination.dimse_timeout_seconds
    entity.network_timeout = destination.network_timeout_seconds
    return entity


def _no_association(destination: Destination, association: Association, *, is_connected: bool) -> PeerError:
    """Say why there is no association, and what helps."""
    if not is_connected:
        cure = "is the peer running, and host and port correct?"
        if destination.tls is not None:
            cure = "is the peer running with TLS, host and port correct, and its certificate signed by the configured authority?"
        return PeerUnreachable(f"{destination}: expected a connection, got none; {cure}")
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "no reason given")
        return PeerRejected(f"{destination}: expected an association, got a rejection ({reason}); make both AE titles known there")
    if association.rejected_contexts:
        refused = ", ".join(
            f"{UID(str(context.abstract_syntax)).name} in {context.transfer_syntax[0].name}" for context in association.rejected_contexts
        )
        return ContextsRefused(f"{destination}: expected it to accept {refused}, got a refusal; allow them for our AE title there")
    return PeerUnreachable(f"{destination}: expected an answer to the association request, got none; see the peer's log")
