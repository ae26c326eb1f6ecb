"""Damaged answers of a DICOMweb server: as bodies at the parser, and as bytes on a loopback socket at the client that sent an object."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from dicom_io.errors import PeerRejected, PeerUnreachable
from dicom_io.sender import read_outgoing
from dicom_io.stow import StowServer, open_stow, read_answer
from tests.component.loopback import write_instance
from tests.fuzz.byte_faults import Dice, broken
from tests.fuzz.guard import PATIENT, expect_discreet
from tests.fuzz.surface import Surface, Try
from tests.fuzz.text_faults import JSON, XML, damaged

UID = "1.2.826.0.1.3680043.8.498.1.1"
JSON_TYPE, XML_TYPE = "application/dicom+json", "application/dicom+xml"
_ITEM = {"00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}, "00081155": {"vr": "UI", "Value": [UID]}}
JSON_SEEDS = (
    json.dumps({"00081199": {"vr": "SQ", "Value": [{**_ITEM, "00081196": {"vr": "US", "Value": [45056]}}]}}),
    json.dumps({"00081198": {"vr": "SQ", "Value": [{**_ITEM, "00081197": {"vr": "US", "Value": [272]}}]}}, indent=1),
    json.dumps([{"00080018": {"vr": "UI", "Value": [UID]}, "00100010": {"vr": "PN", "Value": [{"Alphabetic": PATIENT[0]}]}}]),
    "{}",
)
XML_SEEDS = (
    f"""<?xml version="1.0"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081199" vr="SQ"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">{UID}</Value></DicomAttribute>
<DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute>
</Item></DicomAttribute></NativeDicomModel>""",
)
_STATUS = (b"200 OK", b"202 Accepted", b"409 Conflict", b"400 Bad Request", b"503 x", b"200", b"99999 x", b"-1 x", b"1e3 x", b"100 Go on")
_HEADERS = (
    b"Content-Length: 99999999999", b"Content-Length: -1", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Connection: close",
    b"X: " + b"a" * 70000, b" folded", b"Content-Type: " + b"/" * 30, b"Content-Type: application/dicom+xml; charset=utf-99", b"\0: \0",
    b"Location: file:///",
)  # fmt: skip
IN_MEMORY = 0.8
"""The part of inputs that need no socket."""


class _Peer:
    """Says the same bytes to whoever connects, once each, and hangs up."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5.0)
                received = b""
                while not received.endswith((b"--\r\n", b"\r\n\r\n")) and (piece := connection.recv(65536)):
                    received += piece
                connection.sendall(self.answers[-1])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    item = read_outgoing(write_instance(folder, PatientName=PATIENT[0], PatientID=PATIENT[1]))
    peer = _Peer()
    server = StowServer(name="archive", url=f"http://127.0.0.1:{peer.port}/dicom-web", timeout_seconds=10.0)

    def attempt(dice: Dice) -> str:
        is_json = dice.random() < 0.7
        seeds = JSON_SEEDS if is_json else XML_SEEDS
        body = damaged(dice, dice.choice(seeds), seeds, JSON if is_json else XML)
        if dice.random() < IN_MEMORY:
            stored, failed = read_answer(body, JSON_TYPE if is_json else XML_TYPE)
            assert all(isinstance(key, str) and isinstance(reason, int) for book in (stored, failed) for key, reason in book.items())
            return "named" if UID in stored or UID in failed else "names nothing"
        peer.answers[:] = [_answer(dice, body, JSON_TYPE if is_json else XML_TYPE)]
        with open_stow(server, lambda _moment: None) as session:
            result = session.send(item)
        expect_discreet(result.reason)
        return f"sent: {result.outcome.value}"

    try:
        yield attempt
    finally:
        peer.close()


def _answer(dice: Dice, body: bytes, kind: str) -> bytes:
    headers = [f"Content-Type: {kind}".encode(), f"Content-Length: {len(body)}".encode()]
    for _ in range(dice.choice((0, 0, 1, 2, 150))):
        headers.insert(dice.randrange(len(headers) + 1), dice.choice(_HEADERS))
    status = dice.choice(_STATUS) if dice.random() < 0.4 else _STATUS[0]
    answer = b"HTTP/1.1 " + status + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body
    return broken(dice, answer, 2) if dice.random() < 0.3 else answer


SURFACE = Surface(name="stow", opened=_opened, refusals=(PeerRejected, PeerUnreachable))
