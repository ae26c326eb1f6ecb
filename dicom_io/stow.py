"""STOW-RS: objects go to a DICOMweb server as they lie on the disk, one POST each over one connection (PS3.18 section 10.5).

One object a request, so that an answer that names none (400, 413) still tells which object it is about.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import secrets
import ssl
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom import dcmread

from dicom_io.errors import PeerRejected, PeerUnreachable
from dicom_io.sender import Moment, Outgoing, Reached, SendResult, judged, unheard
from dicom_io.store_status import ALLOW_CLASS, REPORT, SUCCESS, Outcome

CHUNK_BYTES = 1 << 20
MAXIMUM_ANSWER_BYTES = 4 << 20
"""Of one answer about one object; more is no answer that we could use."""
ACCEPT = "application/dicom+json"

REFUSALS: Mapping[int, tuple[Outcome, str]] = {
    HTTPStatus.BAD_REQUEST: (Outcome.PERMANENT, REPORT),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (Outcome.PERMANENT, "raise the server's limit of one request's size, then release it"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (Outcome.CLASS_REFUSED, ALLOW_CLASS),
    HTTPStatus.UNPROCESSABLE_ENTITY: (Outcome.PERMANENT, REPORT),
}
"""HTTP status that speaks of the object -> what follows. What is not here speaks of the server, its address or our credentials,
and is tried again: 401, 403, 404, 429, 5xx ..."""

JUDGED_BY_BODY = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT})
"""The three answers whose body says what became of each object (PS3.18 table 10.5.3-1)."""

REFERENCED_SEQUENCE, FAILED_SEQUENCE = "00081199", "00081198"
INSTANCE_UID, FAILURE_REASON, WARNING_REASON = "00081155", "00081197", "00081196"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StowServer:
    """A DICOMweb server, and how we call it."""

    name: str
    url: str
    """Its DICOMweb root; objects are posted to URL/studies."""
    timeout_seconds: float = 30.0
    authorization: Callable[[], str | None] = lambda: None
    """The Authorization header of each request."""
    tls: ssl.SSLContext | None = dataclasses.field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


class StowSession:
    """One connection to a server; `open_stow` gives it."""

    def __init__(self, server: StowServer, reached: Reached) -> None:
        self._server = server
        self._reached = reached
        parts = urlsplit(server.url)
        self._path = parts.path
        timeout = server.timeout_seconds
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=timeout, context=server.tls)
        else:
            self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout)

    def send(self, item: Outgoing) -> SendResult:
        """Post one object and say what became of it; raises PeerUnreachable or PeerRejected where the server itself is the trouble."""
        boundary = secrets.token_hex(16)
        head = (
            # No transfer-syntax parameter: the file meta says it, and Orthanc silently drops a part that has one.
            f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {item.path.stat().st_size}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + item.path.stat().st_size + len(tail)),
            "Accept": ACCEPT,
        }
        status, body, kind = self._exchange("POST", f"{self._path}/studies", headers, _body(head, item.path, tail, self._reached))
        self._reached(Moment.STORE_RESPONSE_RECEIVED)
        return self._judge(item, status, body, kind)

    def echo(self) -> str:
        """Ask whether the server is there and lets us in; returns what it answered, raises PeerUnreachable or PeerRejected."""
        status, _body, _kind = self._exchange("GET", f"{self._path}/studies?limit=1", {"Accept": ACCEPT}, None)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._trouble(status)
        return f"answers {status}" + ("" if status < HTTPStatus.BAD_REQUEST else " to a query; whether it stores, only an object can tell")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes] | None) -> tuple[int, bytes, str]:
        authorization = self._server.authorization()
        if authorization is not None:
            headers = {**headers, "Authorization": authorization}
        try:
            self._connection.request(method, path, body=body, headers=headers)
            answer = self._connection.getresponse()
            content = answer.read(MAXIMUM_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            message = f"expected a certificate that we trust, got {error.verify_message}; name its authority in `tls.ca_file`"
            raise PeerUnreachable(f"{self._server}: {message}") from error
        except (OSError, http.client.HTTPException) as error:
            # What is no HTTP is quoted by http.client's own words, and may be anything.
            got = str(error) if isinstance(error, OSError) and str(error) else type(error).__name__
            message = f"expected an HTTP answer, got {got}; is the server running, and the URL correct?"
            raise PeerUnreachable(f"{self._server}: {message}") from error
        if len(content) > MAXIMUM_ANSWER_BYTES:
            raise PeerRejected(f"{self._server}: expected an answer of at most {MAXIMUM_ANSWER_BYTES} bytes; is this a DICOMweb server?")
        return answer.status, content, answer.headers.get_content_type()

    def _judge(self, item: Outgoing, status: int, body: bytes, kind: str) -> SendResult:
        peer = str(self._server)
        if status in REFUSALS:
            outcome, cure = REFUSALS[status]
            reason = f"{peer}: expected HTTP status 200 for {item.path.name}, got {status}; {cure}"
            return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=outcome, status=status, reason=reason)
        if status not in JUDGED_BY_BODY:
            raise self._trouble(status)
        stored, failed = read_answer(body, kind)
        if item.sop_instance_uid in failed:
            return judged(peer, item, failed[item.sop_instance_uid], f"HTTP status {status}")
        if item.sop_instance_uid in stored:
            return judged(peer, item, stored[item.sop_instance_uid], f"HTTP status {status}")
        # An answer that names nothing proves nothing: some servers drop what they do not understand and say 200.
        silence = f"expected an answer that names {item.sop_instance_uid}, got HTTP status {status} without"
        if self._finds(item):
            return dataclasses.replace(judged(peer, item, SUCCESS), reason=f"{peer}: {silence}; it was found by a query")
        reason = f"{peer}: {silence}; see the server's log"
        return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, outcome=Outcome.TRANSIENT, status=status, reason=reason)

    def _finds(self, item: Outgoing) -> bool:
        """Ask by QIDO-RS (PS3.18 section 10.6) whether the server has an object."""
        header = dcmread(item.path, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"], stop_before_pixels=True)
        path = f"{self._path}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}/instances"
        status, body, _kind = self._exchange("GET", f"{path}?SOPInstanceUID={item.sop_instance_uid}", {"Accept": ACCEPT}, None)
        return status == HTTPStatus.OK and any(uid == item.sop_instance_uid for uid in _uids_of(body))

    def _trouble(self, status: int) -> PeerRejected:
        cures = {
            HTTPStatus.UNAUTHORIZED: "give valid credentials in `credentials_file`",
            HTTPStatus.FORBIDDEN: "allow our credentials to store there",
            HTTPStatus.NOT_FOUND: "correct `url`: it is the DICOMweb root, without /studies",
            HTTPStatus.METHOD_NOT_ALLOWED: "switch STOW-RS on there, or correct `url`",
        }
        moved = "it has moved: correct `url`" if 300 <= status < 400 else "see the server's log"
        return PeerRejected(f"{self._server}: expected HTTP status 200, got {status}; {cures.get(HTTPStatus(status), moved)}")


@contextlib.contextmanager
def open_stow(server: StowServer, reached: Reached = unheard) -> Iterator[StowSession]:
    """Give a session with a server, connected at its first request."""
    session = StowSession(server, reached)
    try:
        yield session
    finally:
        session.close()


def read_answer(body: bytes, kind: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return (stored, failed) of a Store Instances response: SOP Instance UID -> warning reason (0: none) or failure reason.

    `kind` is the media type: DICOM JSON (PS3.18 annex F) or Native DICOM XML (PS3.19 annex A.1). A body that cannot be read says
    nothing about any object.
    """
    try:
        sequences = _from_xml(body) if kind.endswith("xml") else _from_json(body)
        stored = {uid: warning or SUCCESS for uid, _failure, warning in sequences(REFERENCED_SEQUENCE)}
        failed = {uid: failure or 0x0110 for uid, failure, _warning in sequences(FAILED_SEQUENCE)}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, ElementTree.ParseError):
        return {}, {}
    return stored, failed


def _uids_of(body: bytes) -> list[str]:
    """The SOP Instance UIDs of a QIDO-RS answer in DICOM JSON."""
    try:
        return [str(found["00080018"]["Value"][0]) for found in json.loads(body)]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return []


_Items = list[tuple[str, int, int]]
"""(SOP Instance UID, failure reason, warning reason) of each item; 0 where there is none."""


def _from_json(body: bytes) -> Callable[[str], _Items]:
    loaded = json.loads(body) if body.strip() else {}
    data_set: Mapping[str, Any] = (loaded[0] if loaded else {}) if isinstance(loaded, list) else loaded

    def first(item: Mapping[str, Any], tag: str) -> Any:
        return (item.get(tag, {}).get("Value") or [0])[0]

    def items(tag: str) -> _Items:
        found = data_set.get(tag, {}).get("Value") or []
        return [(str(first(item, INSTANCE_UID)), int(first(item, FAILURE_REASON)), int(first(item, WARNING_REASON))) for item in found]

    return items


def _from_xml(body: bytes) -> Callable[[str], _Items]:
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ValueError("expected XML without a document type, got one")
    root = ElementTree.fromstring(body)  # entities were refused above
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""

    def first(item: ElementTree.Element, tag: str) -> str:
        return item.findtext(f"{space}DicomAttribute[@tag='{tag}']/{space}Value") or "0"

    def items(tag: str) -> _Items:
        found = root.findall(f"{space}DicomAttribute[@tag='{tag}']/{space}Item")
        return [(first(item, INSTANCE_UID), int(first(item, FAILURE_REASON)), int(first(item, WARNING_REASON))) for item in found]

    return items


def _body(head: bytes, path: Path, tail: bytes, reached: Reached) -> Iterator[bytes]:
    yield head
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
    yield tail
    reached(Moment.STORE_REQUEST_SENT)
