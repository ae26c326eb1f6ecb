"""The gate: no object leaves the house that was not read back from its bytes and found to say what was meant.

It is the only place where a `WrittenObject` is made, and deliveries take nothing else: there is no switch to turn it off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from daemon.written import ObjectKind, WrittenObject
from dicom_io.errors import InvalidResult
from dicom_io.segmentation_types import ResultIdentity


class GateFailure(Exception):
    """An object that is not what was meant: it is put aside for people to look at, with its job, and never sent."""

    code: ClassVar[str] = "gate-failure"

    def __init__(self, kind: ObjectKind, sop_instance_uid: str, part10: bytes, faults: str) -> None:
        super().__init__(f"{kind.value} {sop_instance_uid}: {faults}")
        self.kind = kind
        self.sop_instance_uid = sop_instance_uid
        self.part10 = part10


def pass_gate(
    kind: ObjectKind,
    part10: bytes,
    identity: ResultIdentity,
    sop_class_uid: str,
    destinations: tuple[str, ...],
    check: Callable[[bytes], None],
) -> WrittenObject:
    """Return the object if `check`, which reads its bytes back, finds no fault. Raises GateFailure."""
    try:
        check(part10)
    except InvalidResult as fault:
        raise GateFailure(kind, identity.sop_instance_uid, part10, f"[{fault.code}] {fault}") from fault
    return WrittenObject(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=identity.sop_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        part10=part10,
        destinations=destinations,
    )
