"""The acceptor's protocol, byte by byte: what is answered, what is aborted and why, and that nothing half-arrived is kept."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.admission import Peer, Right
from dicom_io.association import Association, Caller, Services
from dicom_io.association_log import AssociationEventKind, AssociationLog
from dicom_io.connection import Connection
from dicom_io.door import Door, DoorSettings
from dicom_io.listener import StoreOutcome
from dicom_io.other_services import CommitmentMessage
from tests.component.loopback import SCANNER_AE_TITLE
from tests.component.wire import (
    ABORT,
    COMMITMENT,
    RELEASE,
    STORAGE,
    VERIFICATION,
    Shelf,
    acceptor_settings,
    associate_rq,
    command,
    converse,
    echo_rq,
    p_data,
    pair,
    pdu,
    pdv,
    store_rq,
    unused,
)

AC, RJ, P_DATA, RELEASE_RP, A_ABORT = 2, 3, 4, 6, 7
ENCODED = bytes(range(256)) * 20


def test_a_whole_conversation_is_answered_in_order_and_ends_released() -> None:
    outcome = converse(associate_rq() + echo_rq() + store_rq(ENCODED) + echo_rq() + RELEASE)
    assert outcome.types == [AC, P_DATA, P_DATA, P_DATA, RELEASE_RP]
    assert outcome.statuses == [0x0000] * 3
    assert outcome.shelf.kept == [ENCODED]
    assert [event.kind for event in outcome.events] == [AssociationEventKind.ASSOCIATED, AssociationEventKind.RELEASED]
    assert outcome.events[-1].stored == 1


def test_the_response_names_the_request_that_it_answers() -> None:
    ((_, body),) = [answer for answer in converse(associate_rq() + store_rq(ENCODED)).answers if answer[0] == P_DATA]
    expected = command(0x8001, sop_class=str(CTImageStorage))  # only for the padded UID
    assert expected[20:46] in body
    assert struct.pack("<HHLH", 0, 0x0100, 2, 0x8001) + struct.pack("<HHLH", 0, 0x0120, 2, 7) in body
    assert b"1.2.3.4" in body


@pytest.mark.parametrize("size", [1, 7, 4090])
def test_fragments_of_any_size_make_the_same_data_set(size: int) -> None:
    encoded = ENCODED[: 40 if size == 1 else None]
    assert converse(associate_rq() + store_rq(encoded, size=size) + RELEASE).shelf.kept == [encoded]


def test_many_fragments_may_share_a_pdu_and_a_command_may_come_in_pieces() -> None:
    asked = command(0x0001, sop_class=str(CTImageStorage), sop_instance="1.2", has_data_set=True)
    fragments = (
        pdv(STORAGE, 0x01, asked[:10]),
        pdv(STORAGE, 0x01, b""),
        pdv(STORAGE, 0x03, asked[10:]),
        pdv(STORAGE, 0, b"ab"),
        pdv(STORAGE, 2, b"cd"),
    )
    outcome = converse(associate_rq() + p_data(*fragments) + RELEASE)
    assert (outcome.types, outcome.shelf.kept) == ([AC, P_DATA, RELEASE_RP], [b"abcd"])


def test_a_pdu_larger_than_the_buffer_flows_through_it() -> None:
    large = ENCODED * 100
    outcome = converse(associate_rq() + store_rq(large, size=len(large)) + RELEASE, acceptor_settings(maximum_pdu_size=0))
    assert outcome.shelf.kept == [large]


def test_a_peer_that_takes_small_pdus_gets_small_ones() -> None:
    outcome = converse(associate_rq(maximum_length=32) + store_rq(b"x") + echo_rq() + RELEASE)
    sizes = [len(body) for kind, body in outcome.answers if kind == P_DATA]
    assert len(sizes) > 2
    assert max(sizes) <= 32


NOT_WITHIN = "1.2.840.10008.5.1.4.1.2.2.1"
MALFORMED = {
    "a PDU of no type": b"\x09\0\0\0\0\0",
    "a second A-ASSOCIATE-RQ": associate_rq(),
    "an A-ASSOCIATE-AC": pdu(2, bytes(68)),
    "a larger PDU than agreed": struct.pack(">BxL", 4, 4097),
    "a context that was not accepted": p_data(pdv(99, 0x03, command(0x30, sop_class=str(Verification)))),
    "a PDV that ends behind its PDU": pdu(4, struct.pack(">LBB", 100, STORAGE, 3) + b"abc"),
    "a PDV of one byte": pdu(4, struct.pack(">LB", 1, STORAGE)),
    "half a PDV header": pdu(4, b"\0\0"),
    "a data set without a command": p_data(pdv(STORAGE, 0x02, b"abc")),
    "a command set that is none": p_data(pdv(STORAGE, 0x03, b"\xff" * 21)),
    "a command set without a command": p_data(pdv(STORAGE, 0x03, b"")),
    "a command set without end": p_data(pdv(STORAGE, 0x01, bytes(4000))) * 17,
    "a C-ECHO without its class": p_data(pdv(VERIFICATION, 0x03, command(0x0030, sop_class=""))),
    "a command within a C-STORE": store_rq(ENCODED)[:-132] + echo_rq(),
    "another context's data set": p_data(pdv(STORAGE, 0x03, command(1, sop_class="1.2", has_data_set=True)))
    + p_data(pdv(VERIFICATION, 2, b"a")),
}


@pytest.mark.parametrize("stream", MALFORMED.values(), ids=MALFORMED.keys())
def test_whoever_breaks_the_protocol_is_aborted_and_nothing_of_the_message_is_kept(stream: bytes) -> None:
    outcome = converse(associate_rq() + store_rq(b"whole") + stream + echo_rq())
    assert outcome.types == [AC, P_DATA, A_ABORT]
    assert outcome.answers[-1][1][2] == 0x02  # the service provider's doing
    assert outcome.shelf.kept == [b"whole"]
    assert {deposit.end for deposit in outcome.shelf.deposits} <= {"kept", "dropped"}
    assert outcome.events[-1].kind is AssociationEventKind.ABORTED


def test_a_data_set_without_end_is_bounded_where_it_is_gathered() -> None:
    asked = p_data(pdv(COMMITMENT, 0x03, command(0x0130, sop_class="1.2.840.10008.1.20.1", has_data_set=True)))
    fragment = pdv(COMMITMENT, 0x00, bytes(1 << 20))
    settings = acceptor_settings(maximum_pdu_size=0)
    with pair() as (ours, theirs):
        sender = threading.Thread(target=_send_all, args=(theirs, associate_rq() + asked + p_data(fragment) * 17))
        sender.start()
        services = Services(
            intake=Shelf(), door=Door(DoorSettings()), log=AssociationLog(lambda _event: None), commitment=lambda _message: 0
        )
        Association(settings, services, unused).converse(Connection(ours, 5), Caller(address="127.0.0.1"))
        ours.close()
        received = b"".join(iter(lambda: theirs.recv(65536), b""))
        sender.join()
    assert received[-10] == A_ABORT


@pytest.mark.parametrize("end", [b"", ABORT, RELEASE], ids=["the connection ends", "an abort", "a release"])
def test_an_instance_that_is_not_complete_is_dropped(end: bytes) -> None:
    half = store_rq(ENCODED)[:-1016]
    outcome = converse(associate_rq() + half + end)
    assert [deposit.end for deposit in outcome.shelf.deposits] == ["dropped"]


@pytest.mark.parametrize(
    ("stream", "answers"),
    [
        (b"", []),
        (ABORT, []),
        (RELEASE, [A_ABORT]),
        (b"GET / HTTP/1.1\r\n\r\n", [A_ABORT]),
        (pdu(1, bytes(20)), [A_ABORT]),
        (b"\1\0\xff\xff\xff\xff", [A_ABORT]),
    ],
    ids=["a probe", "an abort", "a release", "HTTP", "half a request", "4 GiB"],
)
def test_what_is_no_association_leads_to_none(stream: bytes, answers: list[int]) -> None:
    outcome = converse(stream)
    assert (outcome.types, outcome.events) == (answers, [])


def test_another_version_of_the_protocol_is_rejected() -> None:
    request = bytearray(associate_rq())
    request[6:8] = b"\0\2"
    assert converse(bytes(request)).answers == [(RJ, b"\0\1\2\2")]


@pytest.mark.parametrize(
    ("rights", "accepted"),
    [
        ({Right.ECHO}, [VERIFICATION]),
        ({Right.STORE}, [STORAGE]),
        ({Right.COMMIT}, [COMMITMENT]),
        (set(Right), [VERIFICATION, STORAGE, COMMITMENT]),
        (set(), []),
    ],
    ids=["echo", "store", "commit", "all", "none"],
)
def test_a_peer_gets_the_contexts_that_it_has_a_right_to(rights: set[Right], accepted: list[int]) -> None:
    settings = acceptor_settings(peers=(Peer(ae_title=SCANNER_AE_TITLE, rights=frozenset(rights)),))
    outcome = converse(associate_rq() + RELEASE, settings, commitment=lambda _message: 0)
    body = outcome.answers[0][1]
    results = {body[place + 4]: body[place + 6] for place in range(68, len(body)) if body[place : place + 2] == b"\x21\0"}
    assert [number for number, result in results.items() if result == 0] == accepted


def test_a_message_that_nobody_serves_is_refused_with_a_status_and_the_association_goes_on() -> None:
    find = command(0x0020, sop_class=NOT_WITHIN, has_data_set=True)
    stream = p_data(pdv(STORAGE, 0x03, find)) + p_data(pdv(STORAGE, 0x02, b"identifier"))
    store_on_verification = store_rq(b"abc", context=VERIFICATION)
    outcome = converse(associate_rq() + stream + store_on_verification + echo_rq() + RELEASE)
    assert outcome.statuses == [0x0211, 0x0122, 0x0000]
    assert outcome.shelf.deposits == []


def test_a_cancel_and_an_unasked_response_are_passed_over() -> None:
    cancel = p_data(pdv(STORAGE, 0x03, command(0x0FFF, sop_class="1.2")))
    unasked = p_data(pdv(STORAGE, 0x03, command(0x8001, sop_class="1.2")))
    assert converse(associate_rq() + cancel + unasked + echo_rq() + RELEASE).types == [AC, P_DATA, RELEASE_RP]


@pytest.mark.parametrize(("field", "is_report"), [(0x0130, False), (0x0100, True)], ids=["N-ACTION", "N-EVENT-REPORT"])
def test_storage_commitment_is_handed_on_with_who_sent_it(field: int, is_report: bool) -> None:
    heard: list[CommitmentMessage] = []

    def commit(message: CommitmentMessage) -> int:
        heard.append(message)
        return 0x0000

    data_set = b"\x08\0\x95\x11\x06\0\0\x001.2.9\0"  # (0008,1195) Transaction UID
    asked = _commitment(field)
    stream = p_data(pdv(COMMITMENT, 0x03, asked)) + p_data(pdv(COMMITMENT, 0x02, data_set))
    outcome = converse(associate_rq() + stream + RELEASE, commitment=commit)
    assert outcome.statuses == [0x0000]
    (message,) = heard
    assert (message.is_report, message.type_id, message.data_set.TransactionUID) == (is_report, 1, "1.2.9")
    assert message.request.calling_ae_title == SCANNER_AE_TITLE


def test_a_peer_that_falls_silent_is_aborted_and_leaves_nothing() -> None:
    shelf, door = Shelf(), Door(DoorSettings())
    services = Services(intake=shelf, door=door, log=AssociationLog(lambda _event: None))
    with pair() as (ours, theirs):
        theirs.sendall(associate_rq() + store_rq(ENCODED)[:-500])
        association = Association(
            acceptor_settings(artim_seconds=0.05), services, lambda: (Connection(ours, 0.05), Caller(address="127.0.0.1"))
        )
        association.start()
        association.join(20)
        assert not association.is_alive()
        received = b"".join(iter(lambda: theirs.recv(65536), b""))
    assert received[-10] == A_ABORT
    assert ([deposit.end for deposit in shelf.deposits], door.active) == (["dropped"], 0)


def test_a_peer_that_drips_its_request_has_only_so_long_though_it_is_never_silent() -> None:
    services = Services(intake=Shelf(), door=Door(DoorSettings()), log=AssociationLog(lambda _event: None))
    with pair() as (ours, theirs):
        connection = Connection(ours, 60.0)
        association = Association(acceptor_settings(artim_seconds=0.1), services, lambda: (connection, Caller(address="127.0.0.1")))
        association.start()
        for byte in associate_rq():
            with contextlib.suppress(OSError):
                theirs.sendall(bytes([byte]))
            association.join(0.02)
        association.join(20)
        assert not association.is_alive()


def test_a_fault_of_ours_answers_one_instance_and_leaves_nothing_of_it() -> None:
    class Faulty(Shelf):
        def begin(self, command: object) -> object:  # type: ignore[override]
            raise KeyError("a fault of ours")

    outcome = converse(associate_rq() + store_rq(ENCODED) + echo_rq() + RELEASE, intake=Faulty())  # type: ignore[arg-type]
    assert outcome.statuses == [int(StoreOutcome.CANNOT_UNDERSTAND), 0x0000]
    assert AssociationEventKind.STORE_FAILED in [event.kind for event in outcome.events]


def _commitment(field: int) -> bytes:
    requested = field == 0x0130
    elements = [
        (0x0003 if requested else 0x0002, b"1.2.840.10008.1.20.1"),
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", 7)),
        (0x0800, struct.pack("<H", 0)),
        (0x1001 if requested else 0x1000, b"1.2.840.10008.1.20.1.1"),
        (0x1008 if requested else 0x1002, struct.pack("<H", 1)),
    ]
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _send_all(end: socket.socket, stream: bytes) -> None:
    try:
        end.sendall(stream)
        end.shutdown(socket.SHUT_WR)
    except OSError:
        return  # aborted, as it should be
