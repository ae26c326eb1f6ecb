"""Certificates for tests, made by the openssl command: authorities, and what they vouch for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate and its key, in PEM files."""

    certificate: Path
    private_key: Path


def authority(folder: Path, name: str) -> Identity:
    """A self-signed authority."""
    identity = _identity(folder, name)
    _openssl("req", "-x509", *_new_key(identity), "-subj", f"/CN={name}", "-days", "30", "-out", identity.certificate)
    return identity


def issued(folder: Path, name: str, by: Identity, *, days: int = 30) -> Identity:
    """A certificate that an authority vouches for, for so many days from now; a negative number has expired."""
    identity, request = _identity(folder, name), folder / f"{name}.csr"
    _openssl("req", *_new_key(identity), "-subj", f"/CN={name}", "-out", request)
    extensions = folder / f"{name}.ext"
    extensions.write_text("basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signed = ("-CA", by.certificate, "-CAkey", by.private_key, "-CAcreateserial", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, *signed, "-days", str(days), "-out", identity.certificate)
    return identity


def client_context(trusted: Path, identity: Identity | None) -> ssl.SSLContext:
    """A client's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(trusted)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.private_key)
    return context


def _identity(folder: Path, name: str) -> Identity:
    return Identity(certificate=folder / f"{name}.pem", private_key=folder / f"{name}.key")


def _new_key(identity: Identity) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", identity.private_key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
