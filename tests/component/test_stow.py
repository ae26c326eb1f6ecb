"""STOW-RS against a real HTTP server on loopback that answers as told, in plain text and in TLS with an authority of its own."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from daemon.config import Config
from daemon.destination_settings import DestinationTls, StowDestination
from daemon.errors import ConfigError
from daemon.routes import authorization, tls_context
from dicom_io.errors import PeerRejected, PeerUnreachable
from dicom_io.sender import Moment, Outgoing, read_outgoing
from dicom_io.store_status import Outcome
from dicom_io.stow import StowServer, open_stow, read_answer
from tests.component.loopback import write_instance

JSON, XML = "application/dicom+json", "application/dicom+xml"
UID = "1.2.826.0.1.3680043.8.498.1.1"


@dataclass
class Web:
    """What a server answers next, and what it was sent."""

    answers: list[tuple[int, str, str]]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)


@contextlib.contextmanager
def serving(web: Web, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            web.requests.append((f"{self.command} {self.path}", {key.lower(): value for key, value in self.headers.items()}, body))
            web.connections.add(self.client_address)
            status, kind, text = web.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET = _answer  # noqa: N815  # the names that http.server looks for

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its parent's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(*, stored: dict[str, int] | None = None, failed: dict[str, int] | None = None) -> str:
    """A Store Instances response in DICOM JSON: UID -> warning reason (0: none), UID -> failure reason."""

    def item(uid: str, tag: str, reason: int) -> dict[str, object]:
        reasons = {tag: {"vr": "US", "Value": [reason]}} if reason else {}
        return {"00081155": {"vr": "UI", "Value": [uid]}, **reasons}

    sequences = {
        "00081199": [item(uid, "00081196", reason) for uid, reason in (stored or {}).items()],
        "00081198": [item(uid, "00081197", reason) for uid, reason in (failed or {}).items()],
    }
    return json.dumps({tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items})


def server(port: int, **changes: object) -> StowServer:
    return StowServer(name="web", url=f"http://127.0.0.1:{port}/dicom-web", **changes)  # type: ignore[arg-type]


@pytest.fixture
def outgoing(tmp_path: Path) -> Outgoing:
    return read_outgoing(write_instance(tmp_path))


def test_an_object_arrives_byte_for_byte_as_the_one_part_of_a_related_message(outgoing: Outgoing) -> None:
    web, reached = Web([(200, JSON, answer(stored={UID: 0}))] * 2), list[Moment]()
    with serving(web) as port, open_stow(server(port, authorization=lambda: "Bearer secret"), reached.append) as session:
        results = [session.send(outgoing) for _ in range(2)]
    assert [result.outcome for result in results] == [Outcome.STORED] * 2
    assert len(web.connections) == 1
    line, headers, body = web.requests[0]
    assert (line, headers["authorization"]) == ("POST /dicom-web/studies", "Bearer secret")
    message = BytesParser().parsebytes(f"Content-Type: {headers['content-type']}\r\n\r\n".encode() + body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    (part,) = parts
    assert isinstance(part, Message)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == part.get_content_type() == "application/dicom"
    assert outgoing.path.read_bytes() in body
    assert reached == [Moment.STORE_REQUEST_SENT, Moment.STORE_RESPONSE_RECEIVED] * 2


ANSWERS = [
    (200, answer(stored={UID: 0}), Outcome.STORED, "^$"),
    (200, "", Outcome.TRANSIENT, f"names {UID}"),
    (200, answer(), Outcome.TRANSIENT, f"names {UID}"),
    (202, answer(stored={UID: 0xB000}), Outcome.STORED, "0xB000"),
    (200, answer(failed={UID: 0xA700}), Outcome.TRANSIENT, "0xA700"),
    (202, answer(failed={UID: 0x0122}), Outcome.CLASS_REFUSED, "0x0122"),
    (409, answer(failed={UID: 0xC122}), Outcome.CLASS_REFUSED, "0xC122"),
    (409, answer(failed={UID: 0xA900}), Outcome.PERMANENT, "0xA900"),
    (409, answer(failed={UID: 0x0110}), Outcome.TRANSIENT, "0x0110"),
    (409, answer(failed={"1.2.3": 0xA900}), Outcome.TRANSIENT, f"names {UID}"),
    (202, "<html>", Outcome.TRANSIENT, f"names {UID}"),
    (400, "", Outcome.PERMANENT, "got 400"),
    (413, "", Outcome.PERMANENT, "limit of one request"),
    (415, "", Outcome.CLASS_REFUSED, "got 415"),
]


@pytest.mark.parametrize(("status", "body", "outcome", "words"), ANSWERS)
def test_each_answer_about_an_object_has_its_consequence(outgoing: Outgoing, status: int, body: str, outcome: Outcome, words: str) -> None:
    nothing_found = (200, JSON, "[]")
    with serving(Web([(status, JSON, body), nothing_found])) as port, open_stow(server(port)) as session:
        result = session.send(outgoing)
    assert result.outcome is outcome
    assert re.search(words, result.reason)


def test_an_answer_that_names_nothing_counts_only_where_a_query_finds_the_object(outgoing: Outgoing) -> None:
    web = Web([(200, JSON, answer()), (200, JSON, json.dumps([{"00080018": {"vr": "UI", "Value": [UID]}}]))])
    with serving(web) as port, open_stow(server(port)) as session:
        result = session.send(outgoing)
    assert result.outcome is Outcome.STORED
    assert "found by a query" in result.reason
    assert web.requests[1][0].endswith(f"/instances?SOPInstanceUID={UID}")


@pytest.mark.parametrize(
    ("status", "cure"), [(401, "credentials"), (403, "allow"), (404, "DICOMweb root"), (405, "STOW-RS on"), (302, "moved"), (503, "log")]
)
def test_an_answer_about_the_server_is_no_fault_of_the_object(outgoing: Outgoing, status: int, cure: str) -> None:
    with serving(Web([(status, "text/html", "")])) as port, open_stow(server(port)) as session, pytest.raises(PeerRejected, match=cure):
        session.send(outgoing)


def test_an_answer_in_xml_is_read_and_one_with_a_document_type_is_not() -> None:
    body = (
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"><DicomAttribute tag="00081198" vr="SQ"><Item number="1">'
        f'<DicomAttribute tag="00081155" vr="UI"><Value number="1">{UID}</Value></DicomAttribute>'
        '<DicomAttribute tag="00081197" vr="US"><Value number="1">290</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>'
    ).encode()
    assert read_answer(body, XML) == ({}, {UID: 290})
    assert read_answer(b"<!DOCTYPE x []>" + body, XML) == ({}, {})


def test_a_server_that_is_not_there_is_unreachable(outgoing: Outgoing) -> None:
    with serving(Web([])) as port:
        pass
    with open_stow(server(port)) as session, pytest.raises(PeerUnreachable, match="is the server running"):
        session.send(outgoing)


def test_an_echo_tells_whether_we_are_let_in() -> None:
    with serving(Web([(204, JSON, ""), (404, "text/html", ""), (401, "text/html", "")])) as port, open_stow(server(port)) as session:
        assert session.echo() == "answers 204"
        assert "404" in session.echo()
        with pytest.raises(PeerRejected, match="credentials"):
            session.echo()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed (apt install openssl)")
    folder = tmp_path_factory.mktemp("certificates")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -addext subjectAltName=IP:127.0.0.1 -keyout key -out cert"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


def test_tls_is_spoken_with_our_authority_and_with_no_other(outgoing: Outgoing, certificates: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificates / "cert", certificates / "key")
    trusting = tls_context("web", DestinationTls(ca_file=certificates / "cert"))
    with serving(Web([(200, JSON, answer(stored={UID: 0}))]), own) as port:
        url = f"https://127.0.0.1:{port}/dicom-web"
        with open_stow(StowServer(name="web", url=url, tls=trusting)) as session:
            assert session.send(outgoing).outcome is Outcome.STORED
        stranger = StowServer(name="web", url=url, tls=tls_context("web", DestinationTls()))
        with open_stow(stranger) as session, pytest.raises(PeerUnreachable, match="ca_file"):
            session.send(outgoing)


def test_credentials_come_from_a_file_and_never_cross_the_network_in_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("bearer abc\n")
    assert authorization(path) == "Bearer abc"
    path.write_text("basic user:word\n")
    assert authorization(path) == "Basic dXNlcjp3b3Jk"
    path.write_text("abc")
    with pytest.raises(ConfigError, match="bearer TOKEN") as caught:
        authorization(path)
    assert "abc" not in str(caught.value)
    with pytest.raises(ValueError, match="expected an https URL"):
        Config.model_validate({"destinations": {"web": {"kind": "stow", "url": "http://pacs.example/x", "credentials_file": str(path)}}})
    assert StowDestination.model_validate({"kind": "stow", "url": "http://127.0.0.1/x", "credentials_file": str(path)})


def test_an_answer_without_end_names_nothing_and_what_is_no_http_is_not_quoted() -> None:
    deep = b"[" * 100_000
    assert read_answer(deep, JSON) == ({}, {})
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(b"Zebedee^Ann\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        server = StowServer(name="archive", url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        with open_stow(server) as session, pytest.raises(PeerUnreachable) as refused:
            session.echo()
        thread.join()
    assert "got BadStatusLine" in str(refused.value)
