"""TLS for the listener (PS3.15 annex B, the BCP 195 profiles): mutual authentication, renewed certificates taken up, expiry told."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

from dicom_io.connection import ConnectionEnded, HandshakeFailed, PeerSilent
from dicom_io.errors import UnusableCertificate

LOG = logging.getLogger(__name__)

CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
"""For TLS 1.2, what BCP 195 (RFC 9325 section 4.2) recommends; those of TLS 1.3 are all sound."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The PEM files of a TLS listener."""

    certificate: Path
    """Ours, followed by those of intermediate authorities."""
    private_key: Path
    trusted_certificates: Path
    """The authorities that may vouch for peers, or the peers' own self-signed certificates."""
    requires_peer_certificate: bool = True
    """False: peers need not prove who they are; not for a network that anybody else can reach."""

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The three files."""
        return self.certificate, self.private_key, self.trusted_certificates


class TlsIdentity:
    """The server's side of TLS. Files that change are taken up by the next connection; where they cannot be used, the old ones stay."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files; raises UnusableCertificate."""
        self._settings = settings
        self._lock = threading.Lock()
        self._versions = _versions(settings)
        self._context = server_context(settings)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        with self._lock:
            versions = _versions(self._settings)
            if versions != self._versions:
                self._versions = versions
                try:
                    self._context = server_context(self._settings)
                    LOG.info("TLS certificate and key read anew", extra={"action": "tls_reloaded"})
                except UnusableCertificate as error:
                    LOG.error("the TLS certificate stays as it was: %s", error, extra={"action": "tls_not_reloaded"})
            return self._context


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and above; raises UnusableCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = ssl.CERT_REQUIRED if settings.requires_peer_certificate else ssl.CERT_OPTIONAL
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
        context.load_verify_locations(settings.trusted_certificates)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = ", ".join(str(path) for path in settings.files)
        raise UnusableCertificate(
            f"tls: expected a PEM certificate with its key, and trusted certificates, in {files}; got {error};"
            " correct the files or their rights"
        ) from error
    return context


def own_listener_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a context for calling our own listener: it must show its own certificate, which is also what we show.

    The name in the certificate does not count, since the call goes to an address of this machine. Raises UnusableCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(settings.certificate)
        context.load_cert_chain(settings.certificate, settings.private_key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UnusableCertificate(
            f"tls: expected a PEM certificate with its key in {settings.certificate} and {settings.private_key}, got {error};"
            " run this as the service's user, who may read them"
        ) from error
    return context


def shake_hands(context: ssl.SSLContext, stream: socket.socket, address: str, seconds: float) -> ssl.SSLSocket:
    """Return the connection under TLS; `stream` is closed where that fails. Raises ConnectionEnded or PeerSilent.

    A peer that fails to prove itself is told from one that leaves: HandshakeFailed.
    Runs in the connection's own thread: a peer that says nothing holds up nobody else.
    """
    try:
        stream.settimeout(seconds)
        return context.wrap_socket(stream, server_side=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            stream.close()
        if isinstance(error, TimeoutError):
            raise PeerSilent("expected a TLS handshake") from error
        if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            raise HandshakeFailed(f"expected a TLS handshake, got {error.reason}", address) from error
        raise ConnectionEnded(f"expected a TLS handshake, got {type(error).__name__}") from error


def peer_fingerprint(stream: ssl.SSLSocket) -> str | None:
    """Return the SHA-256 of the certificate that the peer proved to own, in lower-case hexadecimal; None if it showed none."""
    certificate = stream.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest() if certificate else None


def valid_until(certificate: Path) -> datetime:
    """Return when the first certificate of a PEM file expires, aware, UTC; raises UnusableCertificate."""
    try:
        text = certificate.read_text(encoding="ascii")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return _not_after(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE-----") : end]))
    except (OSError, ValueError, IndexError) as error:
        raise UnusableCertificate(f"{certificate}: expected a certificate in PEM form, got {error}; correct the file") from error


def _not_after(der: bytes) -> datetime:
    """The end of validity in an X.509 certificate (RFC 5280 section 4.1): certificate > tbsCertificate > validity > notAfter."""
    _tag, certificate, _rest = _element(der)
    _tag, fields, _rest = _element(certificate)
    tag, value, rest = _element(fields)
    if tag == 0xA0:  # the version is optional
        tag, value, rest = _element(rest)
    for _name in ("signature", "issuer", "validity"):
        tag, value, rest = _element(rest)
    _tag, _value, rest = _element(value)
    tag, value, _rest = _element(rest)
    # UTCTime has two digits of the year, GeneralizedTime four (RFC 5280 section 4.1.2.5).
    return datetime.strptime(value.decode("ascii"), "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, value and what follows of the first DER element."""
    length, start = der[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    if start + length > len(der):
        raise ValueError("bytes that end within the certificate")
    return der[0], der[start : start + length], der[start + length :]


def _versions(settings: TlsSettings) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_version(path) for path in settings.files)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # the follow-up of links is wanted: certificates are often renewed through one
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
