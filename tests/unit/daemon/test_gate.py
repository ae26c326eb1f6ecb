"""The gate cannot be walked around: nothing else in the code makes an object that deliveries take."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from daemon.gate import GateFailure, pass_gate
from daemon.written import ObjectKind
from dicom_io.errors import InvalidSegmentation
from tests.unit.dicom_io.results import IDENTITY

REPOSITORY = Path(__file__).resolve().parents[3]


def test_written_objects_are_made_in_the_gate_alone() -> None:
    makers = [
        path.name
        for path in (REPOSITORY / "daemon").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "WrittenObject"
    ]
    assert makers == ["gate.py"]


def test_what_passes_is_handed_on_as_it_is() -> None:
    seen: list[bytes] = []
    written = pass_gate(ObjectKind.SEG, b"bytes", IDENTITY, "1.2", ("pacs",), seen.append)
    assert seen == [b"bytes"]
    assert (written.part10, written.sop_instance_uid, written.destinations) == (b"bytes", IDENTITY.sop_instance_uid, ("pacs",))


def test_what_fails_comes_with_its_bytes_and_every_fault() -> None:
    def check(_: bytes) -> None:
        raise InvalidSegmentation("2 faults: on the wrong slice; of another patient")

    with pytest.raises(GateFailure, match=r"seg 2\.25\.\d+: \[invalid-segmentation\] 2 faults: on the wrong slice") as caught:
        pass_gate(ObjectKind.SEG, b"bytes", IDENTITY, "1.2", (), check)
    assert caught.value.part10 == b"bytes"
