"""The conformance statement says what the code does: its tables of statuses, rejections and transfer syntaxes are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.listener_settings import ListenerSettings
from dicom_io.admission import Rejection
from dicom_io.codecs import CODECS
from dicom_io.command_set import CommandStatus
from dicom_io.negotiation import WITHOUT_PIXELS
from dicom_io.received import StoreOutcome
from dicom_io.segmentation_types import SegmentationForm

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "conformance_statement.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", TEXT.split(title)[1], flags=re.MULTILINE)[0]


def test_the_statuses_of_storage_are_those_that_are_answered() -> None:
    said = {int(status, 16) for status in re.findall(r"^\| (0x[0-9A-F]{4}) \|", section("### 2.3"), re.MULTILINE)}
    assert said == {int(outcome) for outcome in StoreOutcome}


def test_the_rejections_are_those_that_are_sent() -> None:
    said = {tuple(map(int, row)) for row in re.findall(r"^\| (\d) \| (\d) \| (\d) \|", section("### 2.1"), re.MULTILINE)}
    assert said == {rejection.result_source_reason for rejection in Rejection if rejection is not Rejection.TLS}


def test_the_transfer_syntaxes_are_those_that_are_decoded_and_those_that_are_not_accepted() -> None:
    said = set(re.findall(r"\b1\.2\.840\.10008\.1\.2(?:\.\d+)*(?!\d)", section("### 2.2")))
    assert said == {*CODECS, *WITHOUT_PIXELS}


def test_the_defaults_of_the_association_policy_are_the_settings_own() -> None:
    settings = ListenerSettings()
    for name in ("maximum_associations", "maximum_associations_per_peer", "maximum_pdu_bytes", "network_timeout_seconds"):
        assert f"`listener.{name}` ({getattr(settings, name):g})" in TEXT, name
    assert f"default {settings.port})" in TEXT


def test_the_sop_classes_that_are_sent_are_named() -> None:
    assert {form.sop_class_uid for form in SegmentationForm} <= set(re.findall(r"1\.2\.840\.10008\.5[0-9.]*\d", section("### 2.4")))


def test_the_node_sheet_says_what_the_statement_says() -> None:
    sheet = (DOCS / "dicom_node.md").read_text(encoding="utf-8")
    sent = re.findall(r"1\.2\.840\.10008\.5[0-9.]*\d", section("### 2.4"))
    assert set(re.findall(r"1\.2\.840\.10008\.5[0-9.]*\d", sheet)) == set(sent)
    settings = ListenerSettings()
    assert f"at most {settings.maximum_pdu_bytes:,} bytes" in sheet
    assert f"{settings.maximum_associations_per_peer} of one AE title, {settings.maximum_associations} in all" in sheet
    assert f"(N-ACTION status 0x{CommandStatus.UNRECOGNIZED_OPERATION:04X})" in sheet
