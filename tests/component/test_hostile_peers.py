"""Peers that hang, flood or leave: each costs itself alone."""

from __future__ import annotations

import socket

from dicom_io.listener import WAITING_PER_ADDRESS as WAITING
from dicom_io.listener import DoorSettings, InMemory, Listener
from tests.component.loopback import (
    CT_EXPLICIT,
    SECONDS,
    Sink,
    Witness,
    associated,
    listening,
    request_association,
    settings,
    small_instance,
)
from tests.component.wire import associate_rq, store_rq


def test_hung_and_half_finished_peers_hold_up_nobody() -> None:
    with listening(Sink()) as port:
        hung = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        for number, connection in enumerate(hung):
            connection.sendall(associate_rq()[: 10 * number] if number else associate_rq() + store_rq(bytes(5000))[:-100])
        with associated(port, [CT_EXPLICIT]) as association:
            assert association.send_c_store(small_instance()).Status == 0x0000
        for connection in hung:
            connection.close()


def test_an_address_has_only_so_many_connections_that_say_nothing() -> None:
    listener = Listener(settings(), InMemory(Sink()), Witness())
    port = listener.start()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(WAITING)]
    with socket.create_connection(("127.0.0.1", port)) as one_more:
        one_more.settimeout(SECONDS)
        assert one_more.recv(1) == b""
    for connection in idle:
        connection.close()
    listener.stop()


def test_a_flood_of_requests_is_rejected_and_told_once() -> None:
    witness = Witness()
    with listening(Sink(), witness, door=DoorSettings(associations_per_minute=2)) as port:
        answers = [request_association(port, [CT_EXPLICIT], calling="STRANGER").is_rejected for _ in range(5)]
    assert answers == [True] * 5
    reasons = [event.reason for event in witness.events]
    assert [reason.split(":")[0] for reason in reasons] == ["calling AE title not recognised"] * 2 + ["temporary congestion"]
