"""An association in memory: our acceptor on one end of a socket pair, bytes written by hand on the other."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
from collections.abc import Iterator, Sequence

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from dicom_io.association import AcceptorSettings, Association, Caller, Services
from dicom_io.association_log import AssociationEvent, AssociationLog
from dicom_io.connection import Connection
from dicom_io.door import Door, DoorSettings
from dicom_io.listener import Intake, Peer, StoreCommand, StoreOutcome
from dicom_io.other_services import Commitment
from dicom_io.received import Deposit, Fragment
from tests.component.loopback import OUR_AE_TITLE, SCANNER_AE_TITLE

SECONDS = 20.0
RELEASE = b"\5\0\0\0\0\4\0\0\0\0"
ABORT = b"\7\0\0\0\0\4\0\0\0\0"
VERIFICATION, STORAGE, COMMITMENT = 1, 3, 5
"""Presentation context IDs of `associate_rq`."""
PROPOSED = {
    VERIFICATION: (str(Verification), str(ImplicitVRLittleEndian)),
    STORAGE: (str(CTImageStorage), str(ExplicitVRLittleEndian)),
    COMMITMENT: (str(StorageCommitmentPushModel), str(ImplicitVRLittleEndian)),
}


class Shelf:
    """An intake in memory that knows of every deposit what became of it."""

    def __init__(self) -> None:
        self.deposits: list[ShelfDeposit] = []

    def begin(self, command: StoreCommand) -> Deposit:
        self.deposits.append(ShelfDeposit(command))
        return self.deposits[-1]

    @property
    def kept(self) -> list[bytes]:
        return [bytes(deposit.encoded) for deposit in self.deposits if deposit.end == "kept"]


class ShelfDeposit:
    def __init__(self, command: StoreCommand) -> None:
        self.command = command
        self.encoded = bytearray()
        self.end = ""

    def write(self, fragment: Fragment) -> None:
        assert self.end == ""
        self.encoded += fragment

    def keep(self) -> StoreOutcome:
        assert self.end == ""
        self.end = "kept"
        return StoreOutcome.SUCCESS

    def drop(self) -> None:
        assert self.end == ""
        self.end = "dropped"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one conversation led to."""

    answers: list[tuple[int, bytes]]
    """Type and body of every PDU that we sent."""
    shelf: Shelf
    events: list[AssociationEvent]

    @property
    def types(self) -> list[int]:
        return [kind for kind, _ in self.answers]

    @property
    def statuses(self) -> list[int]:
        """(0000,0900) of every DIMSE response."""
        return [status_of(body) for kind, body in self.answers if kind == 4]


def acceptor_settings(**changes: object) -> AcceptorSettings:
    usual = AcceptorSettings(
        ae_titles=(OUR_AE_TITLE,),
        peers=(Peer(ae_title=SCANNER_AE_TITLE),),
        maximum_pdu_size=4096,
        artim_seconds=5.0,
        dimse_timeout_seconds=5.0,
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def converse(
    stream: bytes, settings: AcceptorSettings | None = None, *, commitment: Commitment | None = None, intake: Intake | None = None
) -> Outcome:
    """Send bytes and the end of the stream; return what came back. An exception of ours is raised here."""
    shelf, events = Shelf(), list[AssociationEvent]()
    services = Services(intake=intake or shelf, door=Door(DoorSettings()), log=AssociationLog(events.append), commitment=commitment)
    association = Association(settings or acceptor_settings(), services, unused)
    with pair() as (ours, theirs):
        theirs.sendall(stream)
        theirs.shutdown(socket.SHUT_WR)
        association.converse(Connection(ours, SECONDS), Caller(address="127.0.0.1"))
        ours.close()
        answered = b"".join(iter(lambda: theirs.recv(65536), b""))
    assert services.door.active == 0
    return Outcome(answers=list(pdus(answered)), shelf=shelf, events=events)


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            end.settimeout(SECONDS)
        yield ours, theirs


def pdus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each PDU; raises where the bytes are not whole PDUs."""
    while stream:
        kind, length = struct.unpack(">BxL", stream[:6])
        assert len(stream) >= 6 + length
        yield kind, stream[6 : 6 + length]
        stream = stream[6 + length :]


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(body)) + body


def associate_rq(
    *, called: str = OUR_AE_TITLE, calling: str = SCANNER_AE_TITLE, contexts: Sequence[int] = tuple(PROPOSED), maximum_length: int = 16384
) -> bytes:
    """An A-ASSOCIATE-RQ that proposes some of PROPOSED."""
    proposed = b"".join(
        item(0x20, struct.pack(">Bxxx", number) + item(0x30, PROPOSED[number][0].encode()) + item(0x40, PROPOSED[number][1].encode()))
        for number in contexts
    )
    information = item(0x50, item(0x51, struct.pack(">L", maximum_length)) + item(0x52, b"1.2.3"))
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    return pdu(1, struct.pack(">Hxx", 1) + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1") + proposed + information)


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def command(field: int, *, sop_class: str, sop_instance: str = "", has_data_set: bool = False, message_id: int = 7) -> bytes:
    """The command set of a request."""
    elements = [(0x0002, _uid(sop_class)), (0x0100, _us(field)), (0x0110, _us(message_id)), (0x0800, _us(0 if has_data_set else 0x0101))]
    if sop_instance:
        elements.append((0x1000, _uid(sop_instance)))
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def store_rq(encoded: bytes, *, sop_instance: str = "1.2.3.4", size: int = 1000, context: int = STORAGE) -> bytes:
    """A C-STORE, its data set in fragments of `size`, a PDU each."""
    asked = command(0x0001, sop_class=str(CTImageStorage), sop_instance=sop_instance, has_data_set=True)
    pieces = [encoded[start : start + size] for start in range(0, len(encoded), size)] or [b""]
    last = len(pieces) - 1
    return p_data(pdv(context, 0x03, asked)) + b"".join(
        p_data(pdv(context, 0x02 if number == last else 0x00, piece)) for number, piece in enumerate(pieces)
    )


def echo_rq(context: int = VERIFICATION) -> bytes:
    return p_data(pdv(context, 0x03, command(0x0030, sop_class=str(Verification))))


def pdv(context: int, control: int, piece: bytes) -> bytes:
    return struct.pack(">LBB", len(piece) + 2, context, control) + piece


def p_data(*pdvs: bytes) -> bytes:
    return pdu(4, b"".join(pdvs))


def status_of(body: bytes) -> int:
    place = body.index(b"\0\0\0\x09\2\0\0\0") + 8
    return int.from_bytes(body[place : place + 2], "little")


def _us(value: int) -> bytes:
    return struct.pack("<H", value)


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def unused() -> tuple[Connection, Caller]:
    raise AssertionError("the connection is handed over")
