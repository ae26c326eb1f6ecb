"""Both data paths, ours and pynetdicom's, are given the same bytes: the same answers, the same instances, byte for byte."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.admission import Peer
from dicom_io.listener import InMemory, Listener, ReceivedInstance
from dicom_io.reference_listener import ReferenceListener
from tests.component.loopback import SCANNER_AE_TITLE, Kind, Sink, Witness, encode, small_instance
from tests.component.loopback import settings as listener_settings
from tests.component.wire import ABORT, PROPOSED, RELEASE, STORAGE, VERIFICATION, associate_rq, command, echo_rq, p_data, pdu, pdv, store_rq

SECONDS = 20.0
ABORTED = [(7, b"")]
"""An A-ABORT; its source and reason are left to each implementation."""


@dataclass(frozen=True)
class Step:
    """Bytes, and whether they are answered."""

    stream: bytes
    is_answered: bool


@dataclass(frozen=True)
class Seen:
    """What a peer saw, and what was kept."""

    answers: list[tuple[int, bytes]]
    received: list[ReceivedInstance]


class Both:
    """A listener of each kind, on ports of their own."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._places = [self._start(stack, kind) for kind in (Listener, ReferenceListener)]

    def _start(self, stack: contextlib.ExitStack, kind: Kind) -> tuple[int, Sink]:
        sink = Sink()
        peers = (Peer(ae_title=SCANNER_AE_TITLE, networks=("127.0.0.0/8",)),)
        listener = kind(listener_settings(peers=peers, maximum_pdu_size=4096, acse_timeout_seconds=5.0), InMemory(sink), Witness())
        port = listener.start()
        stack.callback(listener.stop, drain_seconds=0.0)
        return port, sink

    def tell(self, *steps: Step) -> tuple[Seen, Seen]:
        """Send both the same, and return what each did: ours first."""
        ours, reference = (Seen(_talk(port, steps), _taken(sink)) for port, sink in self._places)
        return ours, reference


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with contextlib.ExitStack() as stack:
        yield Both(stack)


def request(**changes: object) -> Step:
    return Step(associate_rq(**changes), is_answered=True)  # type: ignore[arg-type]


ENCODED = encode(small_instance())
stores = st.builds(
    lambda length, size, number: Step(store_rq(ENCODED[:length], size=size, sop_instance=f"1.2.{number}"), is_answered=True),
    st.integers(2, len(ENCODED)),
    st.sampled_from((11, 64, 500, 4000)),
    st.integers(1, 99),
)
echoes = st.just(Step(echo_rq(), is_answered=True))
cancels = st.just(Step(p_data(pdv(STORAGE, 0x03, command(0x0FFF, sop_class=PROPOSED[STORAGE][0]))), is_answered=False))
ends = st.sampled_from((RELEASE, ABORT, b""))


@given(
    contexts=st.lists(st.sampled_from(tuple(PROPOSED)), min_size=1, max_size=3, unique=True).map(lambda chosen: sorted({*chosen, 1, 3})),
    steps=st.lists(stores | echoes | cancels, max_size=3),
    maximum_length=st.sampled_from((0, 64, 16384)),
    end=ends,
)
@example(contexts=[VERIFICATION, STORAGE], steps=[], maximum_length=0, end=b"")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_conversation_has_the_same_answers_and_leaves_the_same_instances(
    both: Both, contexts: list[int], steps: list[Step], maximum_length: int, end: bytes
) -> None:
    ours, reference = both.tell(request(contexts=contexts, maximum_length=maximum_length), *steps, Step(end, is_answered=False))
    assert ours == reference
    assert len(ours.answers) >= 1 + sum(step.is_answered for step in steps)


@pytest.mark.parametrize(
    "wrong",
    [{"called": "ELSEWHERE"}, {"calling": "STRANGER"}],
    ids=str,
)
def test_the_same_requests_are_turned_down_with_the_same_words(both: Both, wrong: dict[str, object]) -> None:
    ours, reference = both.tell(request(**wrong))
    assert ours == reference


MALFORMED = {
    "a PDU of no type": b"\x09\0\0\0\0\0",
    "a second request": associate_rq(),
    "a context that was not accepted": p_data(pdv(99, 0x03, command(0x30, sop_class=str(Verification)))),
    "an accept": pdu(2, bytes(68)),
}


@pytest.mark.parametrize("stream", MALFORMED.values(), ids=MALFORMED.keys())
def test_the_same_faults_are_aborted(both: Both, stream: bytes) -> None:
    stored = Step(store_rq(ENCODED), is_answered=True)
    ours, reference = both.tell(request(), stored, Step(stream, is_answered=True))
    assert ours == reference
    assert (ours.answers[2:], len(ours.received)) == (ABORTED, 1)


@pytest.mark.parametrize("missing", [1, 500])
def test_half_an_instance_is_kept_by_neither(both: Both, missing: int) -> None:
    half = Step(store_rq(ENCODED, size=100)[:-missing], is_answered=False)
    ours, reference = both.tell(request(), half, Step(b"", is_answered=False))
    assert (ours.received, reference.received) == ([], [])


def _talk(port: int, steps: tuple[Step, ...]) -> list[tuple[int, bytes]]:
    """Send step by step, each answer awaited, and return every PDU until the other side closes."""
    answers: list[tuple[int, bytes]] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(SECONDS)
        for step in steps:
            with contextlib.suppress(OSError):
                connection.sendall(step.stream)
            while step.is_answered:
                answer = _read(connection)
                answers += answer
                if not answer or answer[0][0] != 4 or answer[0][1][5] & 2:  # the last fragment of a response, or no response
                    break
        if steps[-1].stream == b"":
            connection.shutdown(socket.SHUT_WR)
        while not (answers and answers[-1][0] in (3, 6, 7)):  # after these it is for us to close
            answer = _read(connection)
            if not answer:
                break
            answers += answer
    return [(kind, b"" if kind == 7 else body) for kind, body in answers]


def _read(connection: socket.socket) -> list[tuple[int, bytes]]:
    with contextlib.suppress(OSError):
        header = connection.recv(6, socket.MSG_WAITALL)
        if len(header) == 6:
            return [(header[0], connection.recv(int.from_bytes(header[2:], "big"), socket.MSG_WAITALL))]
    return []


def _taken(sink: Sink) -> list[ReceivedInstance]:
    taken, sink.received = sink.received, []
    return taken
