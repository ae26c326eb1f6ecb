"""The trail goes to a repository over TLS: in order, whole, from where the repository had read to, whatever breaks in between."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.atna import AuditSource, Patient
from daemon.audit import open_audit
from daemon.audit_forwarding import Forwarder, patients_in
from daemon.destination_settings import DestinationTls
from daemon.person import at_the_command_line
from daemon.routes import tls_context
from daemon.spool import Spool
from daemon.syslog_tls import Repository, RepositoryUnreachable, frame, send
from tests.component.loopback import SECONDS, received
from tests.component.store_site import FakeClock


@dataclass
class Sink:
    """A repository that keeps what it reads; it hangs up at once while `hangs_up`."""

    heard: list[bytes] = field(default_factory=list)
    hangs_up: bool = False


@contextlib.contextmanager
def repository(sink: Sink, certificates: Path, trusted: Path | None = None) -> Iterator[Repository]:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificates / "cert", certificates / "key")
    ends = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not ends.is_set():
            with contextlib.suppress(OSError):
                plain, _ = listening.accept()
                plain.settimeout(SECONDS)
                with plain, own.wrap_socket(plain, server_side=True) as connection:
                    if not sink.hangs_up:
                        whole = b""
                        while chunk := connection.recv(65536):
                            whole += chunk
                        sink.heard += messages(whole)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            trust = tls_context("test", DestinationTls(ca_file=trusted or certificates / "cert"))
            yield Repository(host="127.0.0.1", port=listening.getsockname()[1], tls=trust, timeout_seconds=SECONDS)
        finally:
            ends.set()
            thread.join()


def messages(stream: bytes) -> list[bytes]:
    """Take a stream of octet-counted messages apart."""
    found = []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt install openssl)")
    folder = tmp_path_factory.mktemp("certificates")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -addext subjectAltName=IP:127.0.0.1 -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


def forwarder(folder: Path, send_frames: object) -> Forwarder:
    source = AuditSource(source_id="node-1")
    return Forwarder(folder=folder, source=source, patient_of=lambda _study: None, send=send_frames, process_id=7)  # type: ignore[arg-type]


def test_what_a_repository_did_not_read_is_sent_again_and_the_rest_once(tmp_path: Path, certificates: Path) -> None:
    folder = tmp_path / "audit"
    audit, sink = open_audit(folder, FakeClock()), Sink(hangs_up=True)
    audit.application_started()
    audit.deliveries_released(None, 1, at_the_command_line())  # has no message
    with repository(sink, certificates) as target:
        own = forwarder(folder, lambda frames: send(target, frames))
        with pytest.raises(RepositoryUnreachable):
            own.forward_once()
        sink.hangs_up = False
        assert own.forward_once()
        assert not own.forward_once()
        audit.application_stopped()
        assert forwarder(folder, lambda frames: send(target, frames)).forward_once()
    types = [re.findall(rb'EventTypeCode csd-code="(\d+)"', message) for message in sink.heard]
    assert types == [[b"110120"], [b"110121"]]
    header = rb"<85>1 2026-01-02T03:04:05\.000000\+00:00 node-1 medsam2d 7 DICOM\+RFC3881 - \xef\xbb\xbf<\?xml"
    assert re.match(header, sink.heard[0])


def test_the_cursor_stays_where_it_was_when_sending_fails(tmp_path: Path) -> None:
    audit = open_audit(tmp_path, FakeClock())
    audit.application_started()

    def fail(_frames: Sequence[bytes]) -> None:
        raise RepositoryUnreachable("nobody there")

    own = forwarder(tmp_path, fail)
    with pytest.raises(RepositoryUnreachable):
        own.forward_once()
    sent: list[bytes] = []
    own.send = sent.extend
    assert own.forward_once()
    assert len(sent) == 1


def test_forwarding_goes_on_over_days_and_past_files_that_were_archived(tmp_path: Path) -> None:
    clock = FakeClock()
    audit, sent = open_audit(tmp_path, clock), list[bytes]()
    for _ in range(3):
        audit.application_started()
        clock.forward(86_400)
    own = forwarder(tmp_path, sent.extend)
    assert own.forward_once()
    assert len(sent) == 3
    for path in sorted(tmp_path.glob("audit-*.jsonl")):
        path.unlink()
    audit.application_started()
    assert own.forward_once()
    assert len(sent) == 4


def test_a_repository_that_is_not_there_or_not_trusted_is_unreachable(tmp_path: Path, certificates: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    one = [frame(b"<x/>", at="2026-01-02T03:04:05Z", host="", process_id=1, outcome="8")]
    assert messages(one[0]) == [b"<84>1 2026-01-02T03:04:05Z - medsam2d 1 DICOM+RFC3881 - \xef\xbb\xbf<x/>"]
    context = tls_context("test", DestinationTls(ca_file=certificates / "cert"))
    with pytest.raises(RepositoryUnreachable, match="is it running"):
        send(Repository(host="127.0.0.1", port=port, tls=context), one)
    stranger = tls_context("test", DestinationTls())
    with repository(Sink(), certificates) as target, pytest.raises(RepositoryUnreachable, match="ca_file"):
        send(Repository(host="127.0.0.1", port=target.port, tls=stranger), one)


def test_a_patient_is_looked_up_in_the_spool(tmp_path: Path) -> None:
    Spool(tmp_path, 0, FakeClock()).write(received(1, PatientID="PID-7"))
    look_up = patients_in(tmp_path)
    assert look_up("1.2.826.0.1.3680043.8.498.2") == Patient(patient_id="PID-7", name="Phantom")
    assert look_up("1.2.3") is None
