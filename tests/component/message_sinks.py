"""Servers on loopback that take what notifications send: HTTP by POST, and just enough of SMTP (RFC 5321), with STARTTLS."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from socket import SocketIO
from typing import Any


@dataclass
class HttpSink:
    """An HTTP server that answers as it is told, and remembers."""

    status: int = 204
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    """HTTPS."""


@contextmanager
def http_server(sink: HttpSink) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sink.headers.append(dict(self.headers))
            sink.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(sink.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if sink.tls is not None:
            server.socket = sink.tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # a client may hang up during TLS
        with _running(server):
            yield server.server_address[1]


@dataclass
class MailSink:
    """What a mail server is like, and what was said to it."""

    tls: ssl.SSLContext | None = None
    tls_from_the_start: bool = False
    """Whether it speaks TLS before anything is said, else after STARTTLS."""
    mails: list[bytes] = field(default_factory=list)
    said: list[tuple[str, bool]] = field(default_factory=list)
    """(command, whether it came under TLS)."""
    refuses: bytes = b""
    """Recipients with this in their address ..."""
    refusal: str = "no such mailbox"
    """... are refused in these words."""


@contextmanager
def mail_server(sink: MailSink) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if sink.tls is not None and sink.tls_from_the_start:
                with sink.tls.wrap_socket(self.request, server_side=True) as stream:
                    stream.sendall(b"220 sink\r\n")
                    _converse(sink, stream, encrypted=True)
                return
            self.request.sendall(b"220 sink\r\n")
            if _converse(sink, self.request, encrypted=False) and sink.tls is not None:
                with sink.tls.wrap_socket(self.request, server_side=True) as stream:
                    _converse(sink, stream, encrypted=True)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server, _running(server):
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # a client may hang up during TLS
        yield server.server_address[1]


def _converse(sink: MailSink, stream: socket.socket, *, encrypted: bool) -> bool:
    """Answer every command; return whether the client asked for TLS."""
    answers = {b"DATA": b"354 go", b"QUIT": b"221 bye", b"AUTH": b"235 known", b"STARTTLS": b"220 go"}
    answers[b"EHLO"] = b"250-sink\r\n250 " + (b"AUTH PLAIN" if encrypted or sink.tls is None else b"STARTTLS")
    with stream.makefile("rb", buffering=0) as lines:
        for line in iter(lines.readline, b""):
            word = line.split()[0].upper()
            sink.said.append((word.decode(), encrypted))
            refused = word == b"RCPT" and sink.refuses and sink.refuses in line
            stream.sendall((f"550 {sink.refusal}".encode() if refused else answers.get(word, b"250 ok")) + b"\r\n")
            if word == b"DATA":
                sink.mails.append(_mail(lines))
                stream.sendall(b"250 kept\r\n")
            if word in (b"QUIT", b"STARTTLS"):
                return word == b"STARTTLS"
    return False


def _mail(lines: SocketIO) -> bytes:
    mail = b""
    while (part := lines.readline()) != b".\r\n":
        mail += part
    return mail


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
