"""Fuzz of the acceptor: conversations put together from valid parts, broken at random; never a crash, a leak or half a PDU.

`python -m tests.fuzz.association --seed 7 --count 900000` runs in one process, without a network. Input `n` of a seed is
always the same, so that a failure is repeated by its seed and number alone; `--record FILE` adds up what was run by seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from pydicom.uid import CTImageStorage

from dicom_io.acceptance import Acceptance, AssociationRequest
from dicom_io.admission import Admission, Request
from dicom_io.association import Association, Caller, Services
from dicom_io.association_log import AssociationLog
from dicom_io.connection import Connection
from dicom_io.door import Door, DoorSettings
from dicom_io.errors import RejectedInput
from dicom_io.part10 import file_header, identify
from dicom_io.pynetdicom_settings import configure_pynetdicom
from tests.component.loopback import encode, small_instance
from tests.component.wire import (
    ABORT,
    COMMITMENT,
    PROPOSED,
    RELEASE,
    STORAGE,
    VERIFICATION,
    Shelf,
    acceptor_settings,
    associate_rq,
    command,
    echo_rq,
    p_data,
    pair,
    pdu,
    pdus,
    pdv,
    store_rq,
    unused,
)
from tests.fuzz.byte_faults import Dice, broken
from tests.fuzz.surface import quiet

ENCODED = encode(small_instance())
UID = str(small_instance().SOPInstanceUID)
SETTINGS = acceptor_settings(artim_seconds=30.0, dimse_timeout_seconds=30.0)


@dataclasses.dataclass(kw_only=True)
class Tally:
    """What the inputs led to; a fuzz that is only ever aborted at the first byte proves little."""

    inputs: int = 0
    associated: int = 0
    answered: int = 0
    kept: int = 0
    understood: int = 0
    """Of these, data sets that named an instance."""


def run(seed: int, count: int, tally: Tally) -> None:
    """Feed inputs 0 to `count` - 1 of a seed; AssertionError or any other exception is a finding."""
    configure_pynetdicom()
    with quiet("pydicom", "dicom_io"):  # the service keeps pydicom quiet too: it would quote values
        agreed = _agreement()
        for number in range(count):
            dice = Dice(f"{seed}/{number}")
            try:
                # One in eight negotiates too, which takes most of its time.
                _one(_conversation(dice), None if number % 8 == 0 else agreed, tally)
            except BaseException as error:
                error.add_note(f"seed {seed}, input {number}")
                raise


class _Associated(Association):
    """An association whose negotiation is over."""

    def __init__(self, services: Services, agreed: tuple[Request, Acceptance]) -> None:
        super().__init__(SETTINGS, services, unused)
        self._agreed = agreed
        self._door = services.door

    def _associate(self, connection: Connection, caller: Caller) -> tuple[Request, Acceptance] | None:
        self._door.enter(self._agreed[0], Admission(rights=frozenset(), maximum_associations=None))
        return self._agreed


def _one(stream: bytes, agreed: tuple[Request, Acceptance] | None, tally: Tally) -> None:
    shelf, door = Shelf(), Door(DoorSettings())
    services = Services(intake=shelf, door=door, log=AssociationLog(lambda _event: None), commitment=lambda _message: 0)
    association = _Associated(services, agreed) if agreed else Association(SETTINGS, services, unused)
    with pair() as (ours, theirs):
        theirs.sendall(stream if agreed else associate_rq() + stream if len(stream) % 2 else stream)
        theirs.shutdown(socket.SHUT_WR)
        association.converse(Connection(ours, 30.0), Caller(address="127.0.0.1"))
        ours.close()
        answers = list(pdus(b"".join(iter(lambda: theirs.recv(65536), b""))))
    assert door.active == 0
    assert all(deposit.end in ("kept", "dropped") for deposit in shelf.deposits)
    assert all(kind in (2, 3, 4, 6, 7) for kind, _body in answers)
    assert [kind for kind, _body in answers].count(7) <= 1
    tally.inputs += 1
    tally.associated += bool(agreed) or any(kind == 2 for kind, _body in answers)
    tally.answered += any(kind == 4 for kind, _body in answers)
    for deposit in shelf.deposits:
        if deposit.end == "kept":
            tally.kept += 1
            tally.understood += _is_understood(deposit.command, bytes(deposit.encoded))


def _is_understood(asked: object, encoded: bytes) -> bool:
    try:
        file_header(asked)  # type: ignore[arg-type]  # the shelf's command
        identify(asked, encoded)  # type: ignore[arg-type]
    except RejectedInput:
        return False
    return True


def _agreement() -> tuple[Request, Acceptance]:
    asked = AssociationRequest(associate_rq(), "127.0.0.1")
    rights = frozenset(SETTINGS.peers[0].rights)
    return asked.request, asked.accept(rights, SETTINGS.maximum_pdu_size, serves_commitment=True)


def _conversation(dice: Dice) -> bytes:
    stream = b"".join(dice.choice(PARTS)(dice) for _ in range(dice.randint(1, 5)))
    return broken(dice, stream, dice.choice((0, 1, 1, 2, 8)))


def _store(dice: Dice) -> bytes:
    encoded = ENCODED
    if dice.random() < 0.4:
        encoded = broken(dice, encoded, 1)
    return store_rq(encoded, sop_instance=dice.choice((UID, UID, "1.2", "")), size=dice.choice((40, 333, 4000)))


def _scattered(dice: Dice) -> bytes:
    """A C-STORE whose fragments lie across and within PDUs as they please."""
    asked = command(1, sop_class=str(CTImageStorage), sop_instance=UID, has_data_set=True)
    cut, place = dice.randrange(len(asked)), dice.randrange(len(ENCODED))
    fragments = [
        pdv(STORAGE, 1, asked[:cut]),
        pdv(STORAGE, 3, asked[cut:]),
        pdv(STORAGE, 0, ENCODED[:place]),
        pdv(STORAGE, 2, ENCODED[place:]),
    ]
    split = dice.randrange(len(fragments) + 1)
    return p_data(*fragments[:split]) + p_data(*fragments[split:])


def _other(dice: Dice) -> bytes:
    field = dice.choice((0x0001, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0130, 0x0FFF, 0x8001, 0x8030, dice.randrange(65536)))
    context = dice.choice((VERIFICATION, STORAGE, COMMITMENT))
    has_data_set = dice.random() < 0.5
    asked = command(field, sop_class=dice.choice((PROPOSED[context][0], "1.2.3", "")), sop_instance="1.2", has_data_set=has_data_set)
    data_set = p_data(pdv(context, 2, dice.choice((b"", b"\x08\0\x95\x11\x06\0\0\x001.2.9\0", dice.randbytes(30)))))
    return p_data(pdv(context, 3, asked)) + (data_set if has_data_set else b"")


PARTS: tuple[Callable[[Dice], bytes], ...] = (
    _store,
    _store,
    _scattered,
    _other,
    lambda _dice: echo_rq(),
    lambda _dice: associate_rq(),
    lambda dice: dice.choice((RELEASE, ABORT)),
    lambda dice: pdu(dice.randrange(10), dice.randbytes(dice.randrange(40))),
)


def main() -> None:
    """Run the fuzz from the command line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--record", type=Path, help="JSON file of seed -> inputs, which is added to")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    tally, start = Tally(), time.monotonic()
    run(given.seed, given.count, tally)
    print(f"seed {given.seed}: {tally} in {time.monotonic() - start:.0f} s, no finding")  # noqa: T201
    if given.record:
        past = json.loads(given.record.read_text()) if given.record.exists() else {}
        past[str(given.seed)] = max(given.count, past.get(str(given.seed), 0))
        given.record.write_text(json.dumps(past, indent=1) + "\n")
        print(f"{sum(past.values())} inputs in {len(past)} seeds so far")  # noqa: T201


if __name__ == "__main__":
    main()
