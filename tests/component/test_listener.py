"""The listener against a real pynetdicom peer: admission, negotiation, what is handed on, and what it survives."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    Verification,
)

from dicom_io.errors import PortUnavailable
from dicom_io.listener import AssociationEventKind, DoorSettings, InMemory, Listener, Peer, ReceivedInstance, StoreOutcome
from dicom_io.reference_listener import ReferenceListener
from tests.component.loopback import (
    CT_EXPLICIT,
    OUR_AE_TITLE,
    SCANNER_AE_TITLE,
    Kind,
    Sink,
    Witness,
    associated,
    encode,
    listening,
    on_sent_fragment,
    request_association,
    settings,
    small_instance,
    write_instance,
)

pytestmark = pytest.mark.parametrize("kind", [Listener, ReferenceListener], ids=["direct", "pynetdicom"])
JPIP_REFERENCED = "1.2.840.10008.1.2.4.94"
PRIVATE_CLASS = "1.3.46.670589.5.0.2"
YOUNGER_CLASS = "1.2.840.10008.5.1.4.1.1.999.7"
RETIRED_CLASS = "1.2.840.10008.5.1.4.1.1.3"


def test_a_stored_instance_is_handed_on_undecoded_with_who_sent_it(kind: Kind) -> None:
    sink = Sink()
    instance = small_instance()
    with listening(sink, kind=kind) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(instance).Status == 0x0000
    assert sink.received == [
        ReceivedInstance(
            sop_class_uid=str(CTImageStorage),
            sop_instance_uid=str(instance.SOPInstanceUID),
            transfer_syntax_uid=str(ExplicitVRLittleEndian),
            calling_ae_title=SCANNER_AE_TITLE,
            called_ae_title=OUR_AE_TITLE,
            peer_address="127.0.0.1",
            encoded=encode(instance),
        )
    ]


def test_an_echo_is_answered_with_success(kind: Kind) -> None:
    with listening(Sink(), kind=kind) as port, associated(port, [build_context(Verification)]) as association:
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize("outcome", list(StoreOutcome))
def test_each_outcome_is_the_status_that_the_peer_reads(outcome: StoreOutcome, kind: Kind) -> None:
    with listening(Sink(lambda _received: outcome), kind=kind) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance()).Status == int(outcome)


def test_a_fault_of_ours_is_answered_as_a_failure_and_the_association_goes_on(kind: Kind) -> None:
    def fail_once(received: ReceivedInstance) -> StoreOutcome:
        if received.sop_instance_uid.endswith(".1"):
            raise RuntimeError("a fault of ours")
        return StoreOutcome.SUCCESS

    witness = Witness()
    with listening(fail_once, witness, kind=kind) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance(1)).Status == 0xC000
        assert association.send_c_store(small_instance(2)).Status == 0x0000
    assert "a fault of ours" in witness.wait_for(AssociationEventKind.STORE_FAILED).reason
    ended = witness.wait_for(AssociationEventKind.RELEASED)
    assert (ended.stored, ended.refused) == (1, 1)


@pytest.mark.parametrize(
    ("calling", "called", "peers", "diagnostic"),
    [
        ("STRANGER", OUR_AE_TITLE, settings().peers, 0x03),
        (SCANNER_AE_TITLE, "ELSEWHERE", settings().peers, 0x07),
        (SCANNER_AE_TITLE, OUR_AE_TITLE, (Peer(ae_title=SCANNER_AE_TITLE, networks=("192.0.2.0/24",)),), 0x03),
        (SCANNER_AE_TITLE, OUR_AE_TITLE, (), 0x03),
    ],
    ids=["unknown calling AE title", "wrong called AE title", "known title from a foreign network", "nobody is known"],
)
def test_a_peer_that_is_not_admitted_is_rejected_with_the_reason_and_observed(
    calling: str, called: str, peers: tuple[Peer, ...], diagnostic: int, kind: Kind
) -> None:
    witness = Witness()
    with listening(Sink(), witness, peers=peers, kind=kind) as port:
        association = request_association(port, [CT_EXPLICIT], calling=calling, called=called)
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (0x01, 0x01, diagnostic)
        event = witness.wait_for(AssociationEventKind.REJECTED)
    assert (event.calling_ae_title, event.called_ae_title, event.peer_address) == (calling, called, "127.0.0.1")
    assert [seen.kind for seen in witness.events] == [AssociationEventKind.REJECTED]


def test_we_answer_to_each_of_our_ae_titles(kind: Kind) -> None:
    with listening(Sink(), ae_titles=("FIRST", "SECOND"), kind=kind) as port:
        for title in ("FIRST", "SECOND"):
            association = request_association(port, [CT_EXPLICIT], called=title)
            assert association.is_established
            association.release()


def test_one_association_too_many_is_rejected_as_a_passing_limit(kind: Kind) -> None:
    witness = Witness()
    with listening(Sink(), witness, door=DoorSettings(maximum_associations=1), kind=kind) as port, associated(port, [CT_EXPLICIT]):
        second = request_association(port, [CT_EXPLICIT])
        assert second.is_rejected
        answer = second.acceptor.primitive
        assert answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (0x02, 0x03, 0x02)
        assert "limit" in witness.wait_for(AssociationEventKind.REJECTED).reason


def test_explicit_little_endian_is_chosen_wherever_the_peer_put_it(kind: Kind) -> None:
    offered: list[str | UID] = [JPEG2000Lossless, ImplicitVRLittleEndian, ExplicitVRLittleEndian]
    with listening(Sink(), kind=kind) as port, associated(port, [build_context(CTImageStorage, offered)]) as association:
        assert [context.transfer_syntax for context in association.accepted_contexts] == [[ExplicitVRLittleEndian]]


def test_a_class_offered_once_for_each_transfer_syntax_is_accepted_in_each(kind: Kind) -> None:
    offered = [JPEG2000Lossless, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, "1.2.840.10008.1.2.4.110"]
    contexts = [build_context(CTImageStorage, syntax) for syntax in offered]
    with listening(Sink(), kind=kind) as port, associated(port, contexts) as association:
        assert [context.transfer_syntax[0] for context in association.accepted_contexts] == offered


def test_a_syntax_whose_pixels_lie_elsewhere_is_refused_and_only_that_one(kind: Kind) -> None:
    contexts = [
        build_context(CTImageStorage, JPIP_REFERENCED),
        build_context(CTImageStorage, "1.2.840.10008.1.2.7.1"),
        build_context(CTImageStorage, "1.2.276.0.7230010.9.9"),
        build_context(CTImageStorage, [JPIP_REFERENCED, ImplicitVRLittleEndian]),
        build_context(RETIRED_CLASS, JPIP_REFERENCED),
    ]
    with listening(Sink(), kind=kind) as port, associated(port, contexts) as association:
        assert [context.transfer_syntax for context in association.accepted_contexts] == [[ImplicitVRLittleEndian]]
        assert [context.result for context in association.rejected_contexts] == [0x04, 0x04, 0x04, 0x03]


def test_services_that_store_nothing_are_refused(kind: Kind) -> None:
    services = [PatientRootQueryRetrieveInformationModelFind, StorageCommitmentPushModel]
    contexts = [CT_EXPLICIT, *(build_context(service) for service in services)]
    with listening(Sink(), kind=kind) as port, associated(port, contexts) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [CTImageStorage]


@pytest.mark.parametrize("sop_class", [PRIVATE_CLASS, YOUNGER_CLASS, RETIRED_CLASS], ids=["private", "younger than us", "retired"])
def test_an_instance_of_a_class_that_we_do_not_know_is_kept(sop_class: str, kind: Kind) -> None:
    sink = Sink()
    context = build_context(sop_class, ExplicitVRLittleEndian)
    with listening(sink, kind=kind) as port, associated(port, [context]) as association:
        assert association.send_c_store(small_instance(SOPClassUID=sop_class)).Status == 0x0000
    assert [received.sop_class_uid for received in sink.received] == [sop_class]


def test_a_health_probe_leaves_nothing_behind(kind: Kind) -> None:
    witness = Witness()
    listener = kind(settings(), InMemory(Sink()), witness)
    port = listener.start()
    before = set(threading.enumerate())
    for _ in range(5):
        socket.create_connection(("127.0.0.1", port)).close()
    with associated(port, [build_context(Verification)]) as association:
        assert association.send_c_echo().Status == 0x0000
    witness.wait_for(AssociationEventKind.RELEASED)
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # less than the 30 s that a connection may take to request an association
        assert not thread.is_alive()
    listener.stop()
    assert listener.active_associations == 0
    assert [event.kind for event in witness.events] == [AssociationEventKind.ASSOCIATED, AssociationEventKind.RELEASED]


def test_bytes_that_are_no_pdu_end_their_connection_only(kind: Kind) -> None:
    with listening(Sink(), kind=kind) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(30)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: scanner\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        with associated(port, [build_context(Verification)]) as association:
            assert association.send_c_echo().Status == 0x0000


def test_an_abort_between_instances_is_observed_with_what_was_stored(kind: Kind) -> None:
    witness = Witness()
    with listening(Sink(), witness, kind=kind) as port:
        association = request_association(port, [CT_EXPLICIT])
        assert association.send_c_store(small_instance()).Status == 0x0000
        association.abort()
        event = witness.wait_for(AssociationEventKind.ABORTED)
    assert (event.stored, event.refused) == (1, 0)


def test_a_connection_that_breaks_within_an_instance_hands_nothing_on(kind: Kind) -> None:
    sink, witness = Sink(), Witness()
    with listening(sink, witness, kind=kind) as port:
        association = request_association(port, [CT_EXPLICIT])
        on_sent_fragment(association, 3, lambda connection: connection.shutdown(socket.SHUT_RDWR))
        answer = association.send_c_store(small_instance(PixelData=bytes(1 << 20)))
        assert "Status" not in answer
        witness.wait_for(AssociationEventKind.ABORTED)
    assert sink.received == []


def test_four_associations_at_once_lose_nothing(kind: Kind) -> None:
    sink, witness = Sink(), Witness()

    def send(group: int) -> None:
        with associated(port, [CT_EXPLICIT]) as association:
            for number in range(5):
                assert association.send_c_store(small_instance(100 * group + number)).Status == 0x0000

    with listening(sink, witness, kind=kind) as port:
        threads = [threading.Thread(target=send, args=(group,)) for group in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        witness.wait_for(AssociationEventKind.RELEASED, count=4)
    assert len({received.sop_instance_uid for received in sink.received}) == 20
    assert sum(event.stored for event in witness.events if event.kind is AssociationEventKind.RELEASED) == 20


def test_a_busy_port_is_refused_with_its_cure(kind: Kind) -> None:
    with listening(Sink(), kind=kind) as port:
        second = kind(settings(port=port), InMemory(Sink()), Witness())
        with pytest.raises(PortUnavailable, match=f"127.0.0.1:{port}.*choose another port"):
            second.start()
        second.stop()


def test_stop_lets_an_instance_finish_and_takes_no_new_association(kind: Kind) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(_received: ReceivedInstance) -> StoreOutcome:
        entered.set()
        assert leave.wait(30)
        return StoreOutcome.SUCCESS

    listener = kind(settings(), InMemory(wait), Witness())
    port = listener.start()
    statuses: list[int] = []

    def send() -> None:
        with associated(port, [CT_EXPLICIT]) as association:
            statuses.append(association.send_c_store(small_instance()).Status)

    sender = threading.Thread(target=send)
    sender.start()
    assert entered.wait(30)
    stopper = threading.Thread(target=listener.stop, kwargs={"drain_seconds": 30.0})
    stopper.start()
    leave.set()
    sender.join()
    stopper.join()
    assert statuses == [0x0000]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_stop_aborts_an_association_that_does_not_end(kind: Kind) -> None:
    witness = Witness()
    listener = kind(settings(), InMemory(Sink()), witness)
    association = request_association(listener.start(), [CT_EXPLICIT])
    assert listener.active_associations == 1
    listener.stop(drain_seconds=0.0)
    witness.wait_for(AssociationEventKind.ABORTED)
    association.join(30)
    assert association.is_aborted


def test_the_bytes_of_a_file_arrive_as_they_lie_on_the_disk(tmp_path: Path, kind: Kind) -> None:
    sink = Sink()
    path = write_instance(tmp_path)
    with listening(sink, kind=kind) as port, associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(path).Status == 0x0000
    assert path.read_bytes().endswith(sink.received[0].encoded)


def test_a_peer_has_only_so_many_associations_and_the_others_are_served(kind: Kind) -> None:
    witness = Witness()
    peers = (*settings().peers, Peer(ae_title="OTHER"))
    door = DoorSettings(maximum_associations_per_peer=1)
    with listening(Sink(), witness, kind=kind, door=door, peers=peers) as port, associated(port, [CT_EXPLICIT]):
        assert request_association(port, [CT_EXPLICIT]).is_rejected
        assert "its maximum number" in witness.wait_for(AssociationEventKind.REJECTED).reason
        with associated(port, [CT_EXPLICIT], calling="OTHER") as association:
            assert association.send_c_store(small_instance()).Status == 0x0000


def test_a_full_disk_rejects_associations_until_there_is_room(kind: Kind) -> None:
    room = [False]
    listener = kind(settings(), InMemory(Sink()), Witness(), has_space=lambda: room[0])
    port = listener.start()
    answer = request_association(port, [CT_EXPLICIT]).acceptor.primitive
    assert answer is not None
    assert (answer.result, answer.result_source, answer.diagnostic) == (0x02, 0x03, 0x01)
    room[0] = True
    with associated(port, [CT_EXPLICIT]) as association:
        assert association.send_c_store(small_instance()).Status == 0x0000
    listener.stop()
