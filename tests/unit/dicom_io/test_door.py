"""The door: limits in all, for each peer and over time, with a clock that the test moves; and what each peer may do."""

from __future__ import annotations

import pytest

from dicom_io.admission import Admission, Peer, Rejection, Request, Right, judge_request
from dicom_io.door import Door, DoorSettings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


ANY = Admission(rights=frozenset(Right), maximum_associations=None)


def request(calling: str = "SCANNER", address: str = "192.0.2.1") -> Request:
    return Request(calling_ae_title=calling, called_ae_title="MEDSAM2D", peer_address=address)


def test_so_many_come_in_and_one_who_leaves_makes_room() -> None:
    door = Door(DoorSettings(maximum_associations=2))
    assert [door.enter(request(name), ANY) for name in ("A", "B", "C")] == [None, None, Rejection.LOCAL_LIMIT]
    door.leave(request("A"))
    assert door.enter(request("C"), ANY) is None
    assert door.active == 2


def test_one_peer_does_not_take_the_places_of_the_others() -> None:
    door = Door(DoorSettings(maximum_associations=10, maximum_associations_per_peer=2))
    assert [door.enter(request("GREEDY"), ANY) for _ in range(3)] == [None, None, Rejection.PEER_LIMIT]
    assert door.enter(request("OTHER"), ANY) is None


def test_a_peers_own_limit_goes_before_the_usual_one() -> None:
    door = Door(DoorSettings(maximum_associations_per_peer=1))
    own = Admission(rights=frozenset(Right), maximum_associations=2)
    assert [door.enter(request(), own) for _ in range(3)] == [None, None, Rejection.PEER_LIMIT]


def test_an_address_that_asks_too_often_waits_for_its_next_turn() -> None:
    clock = Clock()
    door = Door(DoorSettings(associations_per_minute=60), clock=clock)
    assert [door.knock("a") for _ in range(62)] == [0] * 60 + [1, 2]
    assert door.knock("b") == 0
    clock.now += 1.0
    assert [door.knock("a") for _ in range(2)] == [0, 1]


def test_a_flood_of_addresses_is_not_remembered_for_ever() -> None:
    door = Door(DoorSettings(associations_per_minute=1), clock=Clock())
    for number in range(5000):
        door.knock(str(number))
    assert len(door._allowances) == 4096


def test_nobody_comes_in_while_the_disk_is_full() -> None:
    door = Door(DoorSettings(), has_space=lambda: False)
    assert door.enter(request(), ANY) is Rejection.NO_SPACE
    assert door.active == 0


PEERS = (
    Peer(ae_title="SCANNER", networks=("192.0.2.0/25",), rights=frozenset({Right.STORE}), maximum_associations=2),
    Peer(ae_title="SCANNER", networks=("192.0.2.0/24",), rights=frozenset({Right.ECHO}), maximum_associations=3),
    Peer(ae_title="PACS", networks=("2001:db8::/32",), certificates=frozenset({"aa"})),
)


@pytest.mark.parametrize(
    ("calling", "address", "certificate", "expected"),
    [
        ("SCANNER", "192.0.2.1", None, Admission(rights=frozenset({Right.STORE, Right.ECHO}), maximum_associations=3)),
        ("SCANNER", "192.0.2.200", None, Admission(rights=frozenset({Right.ECHO}), maximum_associations=3)),
        ("SCANNER", "::ffff:192.0.2.200", None, Admission(rights=frozenset({Right.ECHO}), maximum_associations=3)),
        ("SCANNER", "198.51.100.1", None, Rejection.PEER_ADDRESS),
        ("SCANNER", "not an address", None, Rejection.PEER_ADDRESS),
        ("STRANGER", "192.0.2.1", None, Rejection.CALLING_AE_TITLE),
        ("PACS", "2001:db8::1", "aa", ANY),
        ("PACS", "2001:db8::1", "bb", Rejection.PEER_CERTIFICATE),
        ("PACS", "2001:db8::1", None, Rejection.PEER_CERTIFICATE),
    ],
)
def test_title_address_and_certificate_decide_together(
    calling: str, address: str, certificate: str | None, expected: Admission | Rejection
) -> None:
    assert judge_request(request(calling, address), ("MEDSAM2D",), PEERS, certificate) == expected


def test_a_peer_needs_a_proper_title_and_proper_networks() -> None:
    with pytest.raises(ValueError, match="1 to 16 ASCII"):
        Peer(ae_title="A TITLE OF SEVENTEEN")
    with pytest.raises(ValueError, match="not-a-network"):
        Peer(ae_title="SCANNER", networks=("not-a-network",))


def test_a_full_disk_is_told_to_the_log_once_a_minute_however_often_peers_come(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    door = Door(DoorSettings(), has_space=lambda: False, clock=clock)
    for _ in range(5):
        assert door.enter(request("A"), ANY) is Rejection.NO_SPACE
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    clock.now += 61.0
    door.enter(request("A"), ANY)
    assert len(caplog.records) == 2
