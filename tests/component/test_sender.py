"""The sender against real peers: pynetdicom as the SCP, and our own listener."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.errors import NotDicom, PeerRejected, PeerUnreachable, StoreRefused
from dicom_io.peer import Destination, associated
from dicom_io.sender import Moment, SendResult, echo, open_session, read_outgoing, store
from dicom_io.store_status import Outcome
from tests.component.loopback import (
    CT_EXPLICIT,
    OUR_AE_TITLE,
    SCANNER_AE_TITLE,
    Sink,
    data_set_bytes,
    listening,
    peer_scp,
    transfer_syntax_of,
    write_instance,
)

ACCEPTED = [CT_EXPLICIT, build_context(Verification)]


def destination(port: int, **changes: object) -> Destination:
    usual = Destination(
        name="archive", host="127.0.0.1", port=port, ae_title="ARCHIVE", calling_ae_title="MEDSAM2D", connection_timeout_seconds=5.0
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def answering(*statuses: int) -> Callable[[evt.Event], int]:
    """A C-STORE handler that gives these statuses in turn."""
    remaining = list(statuses)
    return lambda _event: remaining.pop(0)


def test_all_files_go_in_one_association_and_each_has_its_result(tmp_path: Path) -> None:
    paths = [write_instance(tmp_path, number) for number in (1, 2, 3)]
    associations: set[object] = set()

    def keep(event: evt.Event) -> int:
        associations.add(event.assoc)
        return 0x0000

    with peer_scp(ACCEPTED, keep) as port:
        results = store(destination(port), paths)
    assert results == tuple(
        SendResult(path=path, sop_instance_uid=f"1.2.826.0.1.3680043.8.498.1.{number}", outcome=Outcome.STORED, status=0x0000, reason="")
        for number, path in enumerate(paths, start=1)
    )
    assert len(associations) == 1


def test_nothing_to_send_opens_no_association() -> None:
    assert store(destination(_closed_port()), []) == ()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2"])
def test_a_real_file_is_sent_byte_for_byte(shared_folder: Path, syntax: str) -> None:
    folder = shared_folder / "data" / "compressed_ct_all_syntaxes"
    path = next(path for path in sorted(folder.glob("CTImage.dcm_*")) if transfer_syntax_of(path.read_bytes()) == syntax)
    sink = Sink()
    with listening(sink) as port:
        store(destination(port, ae_title=OUR_AE_TITLE, calling_ae_title=SCANNER_AE_TITLE), [path])
    (received,) = sink.received
    assert received.transfer_syntax_uid == syntax
    assert received.encoded == data_set_bytes(path.read_bytes())


@pytest.mark.parametrize("status", [0xB000, 0xB007, 0x0111])
def test_an_instance_stored_with_a_warning_counts_and_says_so(tmp_path: Path, status: int) -> None:
    with peer_scp(ACCEPTED, answering(status)) as port:
        (result,) = store(destination(port), [write_instance(tmp_path)])
    assert result.status == status
    assert result.reason


def test_a_refused_instance_is_an_error_that_tells_what_was_stored_beside_it(tmp_path: Path) -> None:
    paths = [write_instance(tmp_path, number) for number in (1, 2, 3)]
    with peer_scp(ACCEPTED, answering(0x0000, 0xA700, 0x0000)) as port, pytest.raises(StoreRefused, match=r"2\.dcm, got 0xA700") as caught:
        store(destination(port), paths)
    assert [result.path for result in caught.value.results if isinstance(result, SendResult)] == [paths[0], paths[2]]


def test_a_peer_that_takes_neither_class_nor_syntax_rejects(tmp_path: Path) -> None:
    with peer_scp([build_context(Verification)], answering()) as port, pytest.raises(PeerRejected, match="CT Image Storage in Explicit VR"):
        store(destination(port), [write_instance(tmp_path)])


def test_a_refused_context_stops_only_what_needs_it(tmp_path: Path) -> None:
    paths = [write_instance(tmp_path, 1), write_instance(tmp_path, 2, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.4"))]
    with peer_scp(ACCEPTED, answering(0x0000)) as port, pytest.raises(PeerRejected, match="MR Image Storage") as caught:
        store(destination(port), paths)
    assert [result.path for result in caught.value.results if isinstance(result, SendResult)] == [paths[0]]


def test_only_what_is_sent_is_proposed(tmp_path: Path) -> None:
    offered: list[tuple[object, object]] = []

    def look(event: evt.Event) -> int:
        contexts = event.assoc.requestor.requested_contexts
        offered.extend((context.abstract_syntax, context.transfer_syntax) for context in contexts)
        return 0x0000

    accepted = [build_context(CTImageStorage, [ExplicitVRLittleEndian, JPEG2000Lossless])]
    with peer_scp(accepted, look) as port:
        store(destination(port), [write_instance(tmp_path)])
    assert offered == [(CTImageStorage, [ExplicitVRLittleEndian])]


def test_a_session_tells_what_became_of_each_object_and_goes_on(tmp_path: Path) -> None:
    items = [read_outgoing(write_instance(tmp_path, number)) for number in (1, 2, 3)]
    foreign = read_outgoing(write_instance(tmp_path, 4, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.4")))
    reached: list[Moment] = []
    with (
        peer_scp(ACCEPTED, answering(0xC001, 0xA700, 0xB000)) as port,
        open_session(destination(port), [*items, foreign], reached=reached.append) as session,
    ):
        results = [session.send(item) for item in (items[0], foreign, items[1], items[2])]
    assert [result.outcome for result in results] == [Outcome.PERMANENT, Outcome.CLASS_REFUSED, Outcome.TRANSIENT, Outcome.STORED]
    assert "expected it to accept MR Image Storage in Explicit VR" in results[1].reason
    assert reached == [Moment.STORE_REQUEST_SENT, Moment.STORE_RESPONSE_RECEIVED] * 3


def test_a_peer_that_does_not_know_us_rejects_with_the_titles_in_the_message(tmp_path: Path) -> None:
    with listening(Sink()) as port, pytest.raises(PeerRejected, match=r"MEDSAM2D at 127.0.0.1:\d+, called by NOBODY.*AE titles known"):
        store(destination(port, ae_title=OUR_AE_TITLE, calling_ae_title="NOBODY"), [write_instance(tmp_path)])


def test_a_rejection_that_comes_at_once_is_told_with_its_reason() -> None:
    rejected = threading.Event()
    # pynetdicom's own thread looks at the connection only when the rejection has closed it again.
    late = [(evt.EVT_CONN_CLOSE, lambda _event: rejected.set()), (evt.EVT_REQUESTED, lambda _event: rejected.wait(20))]
    with listening(Sink()) as port:
        stranger = destination(port, ae_title=OUR_AE_TITLE, calling_ae_title="NOBODY")
        with (
            pytest.raises(PeerRejected, match="Calling AE title not recognised"),
            associated(stranger, [build_context(Verification)], late),
        ):
            pytest.fail("a stranger was accepted")


def test_a_peer_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    port = _closed_port()
    with pytest.raises(PeerUnreachable, match=f"127.0.0.1:{port}.*is the peer running"):
        store(destination(port), [write_instance(tmp_path)])


def test_a_host_that_has_no_address_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable, match="correct the host"):
        store(destination(104, host="archive.invalid"), [write_instance(tmp_path)])


def test_a_peer_that_accepts_the_connection_and_says_nothing_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PeerUnreachable, match="association request"):
        store(destination(silent.getsockname()[1], acse_timeout_seconds=0.2), [write_instance(tmp_path)])


def test_a_peer_that_aborts_is_unreachable_and_what_it_stored_before_is_told(tmp_path: Path) -> None:
    paths = [write_instance(tmp_path, number) for number in (1, 2, 3)]
    count = 0

    def abort_at_the_second(event: evt.Event) -> int:
        nonlocal count
        count += 1
        if count == 2:
            event.assoc.abort()
        return 0x0000

    with peer_scp(ACCEPTED, abort_at_the_second) as port, pytest.raises(PeerUnreachable, match=r"C-STORE of 2\.dcm") as caught:
        store(destination(port), paths)
    assert [result.path for result in caught.value.results if isinstance(result, SendResult)] == [paths[0]]


def test_a_file_that_is_not_dicom_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.dcm"
    foreign.write_bytes(b"no DICOM" * 100)
    with pytest.raises(NotDicom, match=r"foreign\.dcm"):
        store(destination(_closed_port()), [foreign])


def test_an_echo_is_silent_when_all_is_well_and_typed_when_not() -> None:
    with peer_scp(ACCEPTED, answering()) as port:
        echo(destination(port))
        with pytest.raises(PeerRejected):
            echo(destination(port, ae_title="ELSEWHERE"))
    with pytest.raises(PeerUnreachable):
        echo(destination(_closed_port()))


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
