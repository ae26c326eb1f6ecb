"""Audit messages to a repository by syslog over TLS (RFC 5424, RFC 5425).

RFC 5425 has no acknowledgement. A batch goes over one connection that we close in good order: when the repository has closed its
side too, it has read every byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from daemon.errors import Transient

PRIORITY = {"0": 85, "4": 84, "8": 84, "12": 84}
"""EventOutcomeIndicator -> facility 10 (security), severity notice or warning (PS3.15 section A.6)."""
MESSAGE_ID = "DICOM+RFC3881"
APPLICATION = "medsam2d"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Says that what follows is UTF-8 (RFC 5424 section 6.4)."""


class RepositoryUnreachable(Transient):
    """The audit repository took no messages; they wait in the trail."""

    code: ClassVar[str] = "audit-repository-unreachable"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where audit messages go."""

    host: str
    port: int
    tls: ssl.SSLContext
    timeout_seconds: float = 30.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def frame(xml: bytes, *, at: str, host: str, process_id: int, outcome: str) -> bytes:
    """Return one message with its length in front: octet counting (RFC 5425 section 4.3)."""
    header = f"<{PRIORITY[outcome]}>1 {at} {host or '-'} {APPLICATION} {process_id} {MESSAGE_ID} - ".encode("ascii", "replace")
    message = header + BYTE_ORDER_MARK + xml
    return str(len(message)).encode() + b" " + message


def send(repository: Repository, frames: Sequence[bytes]) -> None:
    """Send frames over one connection and return when the repository has read them all. Raises RepositoryUnreachable."""
    try:
        with (
            socket.create_connection((repository.host, repository.port), repository.timeout_seconds) as plain,
            repository.tls.wrap_socket(plain, server_hostname=repository.host) as connection,
        ):
            for one in frames:
                connection.sendall(one)
            with contextlib.suppress(ssl.SSLEOFError):  # some repositories end without a closing alert of theirs
                connection.unwrap()
            _expect_all_read(connection)
    except ssl.SSLCertVerificationError as error:
        message = f"expected a certificate that we trust, got {error.verify_message}; name its authority in `audit.syslog.tls.ca_file`"
        raise RepositoryUnreachable(f"audit repository {repository}: {message}") from error
    except OSError as error:
        message = f"expected it to take messages over TLS, got {error}; is it running, and host and port correct?"
        raise RepositoryUnreachable(f"audit repository {repository}: {message}") from error


def _expect_all_read(connection: ssl.SSLSocket) -> None:
    """Raise ConnectionResetError unless the other side, which has closed, had read all that we sent.

    A side that closes with bytes unread, or before they come, answers them by a reset instead of acknowledging them (RFC 1122
    section 4.2.2.13): after its end nothing may be unacknowledged (tcp(7), SIOCOUTQ) and no reset have come.
    """
    (unacknowledged,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))
    if unacknowledged or connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise ConnectionResetError("it hung up before it had read everything")
