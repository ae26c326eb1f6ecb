"""A sender that costs next to nothing: one C-STORE's bytes, encoded once, of which only the SOP Instance UID changes.

Runs as a process of its own, `python -m daemon.benchmarks.raw_sender`: says `ready` once it is associated, starts at a line on
its standard input, and says how many seconds its instances took and how many were answered with success.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

UID_DIGITS = 30
"""Every SOP Instance UID is as long as the one in the file, so that it can be put in its place."""
ACCEPTED, RESPONSE_MAXIMUM = 0x02, 4096


def uid_of(number: int) -> bytes:
    """Return the SOP Instance UID of the `number`-th instance: 2.25. and digits (PS3.5 annex B.2)."""
    return b"2.25." + str(10 ** (UID_DIGITS - 1) + number).encode()


def associate_rq(calling: str, called: str, sop_class: bytes, syntax: bytes) -> bytes:
    """Return an A-ASSOCIATE-RQ with one presentation context (PS3.8 section 9.3.2)."""
    context = struct.pack(">Bxxx", 1) + _item(0x30, sop_class) + _item(0x40, syntax)
    information = _item(0x51, struct.pack(">L", 131072)) + _item(0x52, b"2.25.1")
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, information)
    fixed = struct.pack(">Hxx16s16s32x", 1, called.ljust(16).encode(), calling.ljust(16).encode())
    return struct.pack(">BxL", 1, len(fixed + items)) + fixed + items


def store_rq(sop_class: bytes, data_set: bytes, maximum_length: int) -> bytearray:
    """Return the P-DATA-TF PDUs of a C-STORE whose SOP Instance UID is `uid_of(0)`, as the acceptor wants them cut."""
    elements = b"".join(
        (
            _command_element(0x0002, sop_class + b"\0" * (len(sop_class) % 2)),
            _command_element(0x0100, struct.pack("<H", 1)),
            _command_element(0x0110, struct.pack("<H", 1)),
            _command_element(0x0700, struct.pack("<H", 0)),
            _command_element(0x0800, struct.pack("<H", 0)),
            _command_element(0x1000, uid_of(0) + b"\0" * (len(uid_of(0)) % 2)),
        )
    )
    command = _command_element(0x0000, struct.pack("<L", len(elements))) + elements
    stream = bytearray(_pdv(command, 0x03))
    size = (maximum_length or 131072) - 6
    for start in range(0, len(data_set), size):
        piece = data_set[start : start + size]
        stream += _pdv(piece, 0x02 if start + size >= len(data_set) else 0x00)
    return stream


def maximum_length_of(accept: bytes) -> int:
    """Return the acceptor's Maximum Length (PS3.8 annex D.1) from its A-ASSOCIATE-AC."""
    place = accept.index(b"\x51\x00\x00\x04")
    return int.from_bytes(accept[place + 4 : place + 8], "big")


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Return type and body of one PDU."""
    kind, length = struct.unpack(">BxL", _exactly(connection, 6))
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionError("the receiver closed the connection")
        data += piece
    return data


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _command_element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def _pdv(piece: bytes, control: int) -> bytes:
    return struct.pack(">BxLLBB", 4, len(piece) + 6, len(piece) + 2, 1, control) + piece


def main() -> None:
    """Send: port, calling and called AE title, SOP Class UID, transfer syntax, data set file, first number, how many."""
    port, calling, called, sop_class, syntax, file, first, count = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(associate_rq(calling, called, sop_class.encode(), syntax.encode()))
        kind, accept = read_pdu(connection)
        if kind != ACCEPTED:
            raise ConnectionError(f"expected an accepted association, got a PDU of type {kind}")
        stream = store_rq(sop_class.encode(), Path(file).read_bytes(), maximum_length_of(accept))
        places = _places(stream, uid_of(0))
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        start, stored = time.perf_counter(), 0
        for number in range(int(first), int(first) + int(count)):
            for place in places:
                stream[place : place + len(uid_of(0))] = uid_of(number)
            connection.sendall(stream)
            _kind, answer = read_pdu(connection)
            stored += answer[answer.index(b"\0\0\0\x09\2\0\0\0") + 8 :][:2] == b"\0\0"
        print(time.perf_counter() - start, stored, count, flush=True)  # noqa: T201
        connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        read_pdu(connection)


def _places(stream: bytearray, uid: bytes) -> list[int]:
    places, place = [], stream.find(uid)
    while place >= 0:
        places.append(place)
        place = stream.find(uid, place + 1)
    return places


if __name__ == "__main__":
    main()
