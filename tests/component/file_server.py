"""An HTTP server on loopback that hands out one file, resumes or does not, and breaks off where a test wants it to."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


@dataclass
class FileSource:
    """The file and how it is served."""

    data: bytes
    etag: str = '"one"'
    resumes: bool = True
    breaks_after: list[int] = field(default_factory=list)
    """After so many bytes of an answer the connection is reset; one entry an answer."""
    status: int = 200
    stated_sha256: str | None = None
    redirect: str | None = None
    """Where the file really is."""
    ranges: list[str | None] = field(default_factory=list)
    """What was asked for, one entry a request."""
    paths: list[str] = field(default_factory=list)


@contextmanager
def serving_file(source: FileSource) -> Iterator[str]:
    """Serve until the block is left; gives the server's address."""
    handler = type("Handler", (_Handler,), {"source": source})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    source: ClassVar[FileSource]

    def do_GET(self) -> None:
        self.source.paths.append(self.path)
        self.source.ranges.append(self.headers["Range"])
        if self.source.redirect is not None:
            self.send_response(302)
            self.send_header("Location", self.source.redirect)
            self._state()
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.source.status != 200:
            self.send_error(self.source.status)
            return
        self._send(self._first_byte())

    def _first_byte(self) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return int(found[1]) if found and self.source.resumes and self.headers["If-Range"] == self.source.etag else None

    def _send(self, first: int | None) -> None:
        if first is not None and first >= len(self.source.data):
            self.send_error(416)
            return
        body = self.source.data[first or 0 :]
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(self.source.data) - 1}/{len(self.source.data)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.source.etag)
        self._state()
        self.end_headers()
        stop = self.source.breaks_after.pop(0) if self.source.breaks_after else None
        self.wfile.write(body[:stop])
        if stop is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def _state(self) -> None:
        if self.source.stated_sha256 is not None:
            self.send_header("X-Linked-Etag", f'"{self.source.stated_sha256}"')

    def log_message(self, *_: object) -> None:
        """Say nothing."""
