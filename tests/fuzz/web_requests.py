"""Damaged HTTP requests at the real status page on a loopback socket: an answer of the standard or none, and nothing without the token."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from daemon.config import Config, FolderSettings
from daemon.listener_settings import ListenerSettings
from daemon.web.app import COOKIE, application
from daemon.web.server import views_of
from daemon.web.token import cookie_of
from tests.component.delivery_site import finished, item
from tests.component.store_site import claimed, new_site, queued
from tests.fuzz.byte_faults import Dice, broken
from tests.fuzz.guard import PATIENT
from tests.fuzz.surface import Surface, Try

TOKEN = "a-token-of-some-length"
SECRET = "archive-behind-the-door"
"""A destination that only those with the token may read of."""
PATHS = (
    "/", "/jobs", "/jobs?state=failed", "/jobs/1", "/jobs/2", "/login", "/metrics", "/healthz", "/readyz", "/static/style.css",
    "/static/refresh.js", "/static/../app.py", "/static/..%2f..%2fapp.py", "/static//etc/passwd", "/static/%00", "/jobs/-1", "/jobs/%31",
    "/jobs/99999999999999999999999", "/jobs/" + "9" * 5000,
    "//healthz/../", "/healthz/../jobs", "/login/../jobs", "/static/../jobs", "/Jobs", "*", "/loginx",
    "http://127.0.0.1/jobs", "/jobs?" + "a=b&" * 3000, "/" + "a" * 70000, "/jobs?state=\u202e", "/%ff%fe", "/jobs/1;/healthz",
    "/healthz%2f..%2fjobs", "/login?next=/jobs", "/static/%2e%2e/pages.py", "/static/" + "a/" * 3000, "/static/" + "a" * 300,
)  # fmt: skip
METHODS = ("POST", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "G\0T", "A" * 300)
HEADERS = (
    "Host: 127.0.0.1", "Host: evil.example", "Host: 127.0.0.1:99999", "Host:", "Accept: text/html", "Authorization: Bearer x",
    "Authorization: Bearer", "Authorization: Basic \xff", "Authorization: Bearer \xff", "Authorization: " + "x" * 9000,
    'Cookie: medsam2d="', "Cookie: medsam2d=\xff", "Cookie: " + "a=b;" * 2000, "Cookie: =;=;", "Content-Length: 5", "Content-Length: -5",
    "Content-Length: 99999999999", "Content-Length: x", "Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: Upgrade",
    "Transfer-Encoding: identity, chunked", "Upgrade: websocket", "Connection: close", "Range: bytes=0-,5-9,9-1", "X\0: y", "Host: \xff",
    "Content-Type: application/x-www-form-urlencoded", "Content-Type: multipart/form-data", "If-Modified-Since: never", " folded: x",
    "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(500)), "If-Range: Mon, 99 Foo 0000 99:99:99 GMT", "Accept-Encoding: gzip;q=nan",
    "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "X-Forwarded-For: " + PATIENT[0], 'If-None-Match: ""', "Range: bytes=-99999999999",
)  # fmt: skip
BODIES = (
    b"",
    b"token=x",
    b"token=" + b"%ff" * 40,
    b"a=b&" * 3000,
    b"5\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFF\r\n",
    b"-1\r\n",
    b"\0" * 20,
    b"token[]=1;token=2",
)
LAST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
PATIENCE_SECONDS = 0.2
READINESS_FAILS = 503
_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    site = new_site(folder)
    (folder / "state" / "spool").mkdir(parents=True)
    finished(site, item(site, 1, SECRET))
    queued(site, series="9.1")
    site.store.fail(claimed(site), "bug-ValueError", f"Traceback: {PATIENT[0]}", 1)
    settings = Config(folders=FolderSettings(state=folder / "state"), listener=ListenerSettings(port=1))
    app = application(views_of(settings, site.store, site.clock), ("127.0.0.1",), TOKEN)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()

        def attempt(dice: Dice) -> str:
            with_token = dice.random() < 0.5
            if dice.random() < 0.02:
                assert _is_well(port)
            return _judged(_exchange(port, _request(dice, with_token=with_token)), with_token=with_token)

        try:
            assert _is_well(port)
            yield attempt
            assert _is_well(port)
        finally:
            server.should_exit = True
            thread.join()


def _request(dice: Dice, *, with_token: bool) -> bytes:
    headers = [dice.choice(HEADERS) for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 200)))]
    if dice.random() < 0.95:
        headers.insert(0, "Host: 127.0.0.1")
    if with_token:
        headers.append(dice.choice((f"Authorization: Bearer {TOKEN}", f"Cookie: {COOKIE}={cookie_of(TOKEN)}")))
    version = "HTTP/1.1" if dice.random() < 0.9 else dice.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/9", ""))
    method = "GET" if dice.random() < 0.7 else dice.choice(METHODS)
    head = "\r\n".join([f"{method} {dice.choice(PATHS)} {version}", *headers, "", ""])
    request = head.encode("latin-1", errors="replace") + dice.choice(BODIES)
    if dice.random() < 0.1:
        request *= 2  # pipelined
    return broken(dice, request, dice.choice((1, 3))) if dice.random() < 0.2 else request


def _exchange(port: int, request: bytes) -> bytes:
    """Send a request and one more that asks for the end; what still waits for a body then is left alone after a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.sendall(request + LAST)
            while piece := connection.recv(65536):
                answer += piece
        return answer


def _is_well(port: int) -> bool:
    """Whether the server still answers somebody who asks properly, and waits for as long as that takes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60.0) as connection:
        connection.sendall(LAST)
        return connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def _judged(answer: bytes, *, with_token: bool) -> str:
    if not answer:
        return "hung up"
    status = _ANSWER.match(answer)
    assert status, answer[:100]
    code = int(status.group(1))
    assert code < 500 or code == READINESS_FAILS, answer[:400]
    assert b"Traceback" not in answer
    assert with_token or SECRET.encode() not in answer
    assert b"root:x:" not in answer
    assert b"async def" not in answer
    return f"{code // 100}xx"


SURFACE = Surface(name="http", opened=_opened)
