"""The spool: what lies on the disk after a receipt, after a failure, and after a restart."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from daemon.spool import Spool, SpooledInstance, SpoolFull
from dicom_io.errors import DataSetMismatch, NotDicom
from dicom_io.received import ReceivedInstance
from tests.component.loopback import data_set_bytes, encode, received, small_instance

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, 0, lambda: NOW)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_instance_lies_under_its_study_and_series_with_its_bytes_untouched(spool: Spool, tmp_path: Path) -> None:
    sent = received()
    kept = spool.write(sent)
    assert kept == SpooledInstance(
        path=tmp_path / "instances" / kept.study_instance_uid / kept.series_instance_uid / f"{sent.sop_instance_uid}.dcm",
        sop_class_uid=sent.sop_class_uid,
        sop_instance_uid=sent.sop_instance_uid,
        series_instance_uid="1.2.826.0.1.3680043.8.498.3",
        study_instance_uid="1.2.826.0.1.3680043.8.498.2",
        transfer_syntax_uid=sent.transfer_syntax_uid,
        sha256=hashlib.sha256(sent.encoded).hexdigest(),
        bytes=len(sent.encoded),
        calling_ae_title="SCANNER",
        called_ae_title="MEDSAM2D",
        peer_address="127.0.0.1",
        received_at=NOW,
    )
    assert kept.newly_written
    assert files_below(tmp_path) == [kept.path]
    assert data_set_bytes(kept.path.read_bytes()) == sent.encoded


def test_the_file_is_part_10_and_names_who_sent_it(spool: Spool) -> None:
    kept = spool.write(received())
    meta = dcmread(kept.path).file_meta
    assert meta.MediaStorageSOPInstanceUID == kept.sop_instance_uid
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("SCANNER", "MEDSAM2D")


def test_the_same_bytes_again_are_not_written_again(spool: Spool, tmp_path: Path) -> None:
    first = spool.write(received())
    before = first.path.stat()
    second = spool.write(received())
    assert second == first
    assert not second.newly_written
    assert (first.path.stat().st_ino, first.path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert files_below(tmp_path) == [first.path]


def test_other_bytes_under_the_same_uid_are_kept_beside_the_first(spool: Spool, tmp_path: Path) -> None:
    first = spool.write(received(PatientName="First"))
    other = spool.write(received(PatientName="Other"))
    assert other.path.name == f"{other.sop_instance_uid}.{other.sha256[:8]}.dcm"
    assert spool.write(received(PatientName="Other")) == other
    assert files_below(tmp_path) == sorted([first.path, other.path])
    assert data_set_bytes(first.path.read_bytes()) == received(PatientName="First").encoded


def test_many_writers_of_one_uid_keep_every_version_once(spool: Spool, tmp_path: Path) -> None:
    versions = [received(PatientName=f"Version{number % 4}") for number in range(12)]
    threads = [threading.Thread(target=spool.write, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [data_set_bytes(path.read_bytes()) for path in files_below(tmp_path)]
    assert sorted(kept) == sorted({version.encoded for version in versions})


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name)
def test_every_encoding_of_a_data_set_is_understood(spool: Spool, syntax: str) -> None:
    explicit = received()
    instance = small_instance()
    encoded = {
        ImplicitVRLittleEndian: lambda: _encode_as(instance, implicit=True, little=True),
        ExplicitVRBigEndian: lambda: _encode_as(instance, implicit=False, little=False),
        DeflatedExplicitVRLittleEndian: lambda: _deflate(explicit.encoded),
    }[syntax]()  # type: ignore[index]
    kept = spool.write(replace(explicit, transfer_syntax_uid=str(syntax), encoded=encoded))
    assert kept.series_instance_uid == "1.2.826.0.1.3680043.8.498.3"
    assert data_set_bytes(kept.path.read_bytes()) == encoded


def test_a_data_set_that_names_another_instance_than_the_command_is_refused(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(DataSetMismatch, match=r"SOP Instance UID: expected '1\.2\.3'.*got '1\.2\.826"):
        spool.write(replace(received(), sop_instance_uid="1.2.3"))
    with pytest.raises(DataSetMismatch, match="SOP Class UID"):
        spool.write(replace(received(), sop_class_uid="1.2.3"))
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("uid", [b"", b"../../etc", b"..", b"1.2/3", b"1.2.\xff", b"1" * 66], ids=str)
def test_a_uid_that_is_no_uid_never_becomes_a_name(spool: Spool, tmp_path: Path, keyword: str, uid: bytes) -> None:
    known = {"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.1"}
    value = str(small_instance()[keyword].value).encode()
    padded = uid + b"\0" * (len(uid) % 2)
    header = b"UI"
    sent = received()
    encoded = sent.encoded.replace(
        header + _length(value) + value + b"\0" * (len(value) % 2), header + len(padded).to_bytes(2, "little") + padded
    )
    assert encoded != sent.encoded
    commanded = known["SOPInstanceUID"] if keyword != "SOPInstanceUID" else uid.decode("latin-1")
    with pytest.raises(NotDicom, match="expected 1 to 64 digits and dots"):
        spool.write(replace(sent, sop_instance_uid=commanded, encoded=encoded))
    assert files_below(tmp_path) == []


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


@given(encoded=st.binary(max_size=400), syntax=st.sampled_from(SYNTAXES))
@example(encoded=b"", syntax=ExplicitVRLittleEndian)
@example(encoded=b"\x08\x00\x05\x00SQ\x00\x00\xff\xff\xff\xff", syntax=ExplicitVRLittleEndian)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_bytes_that_are_no_data_set_are_refused_whatever_they_are(spool: Spool, tmp_path: Path, encoded: bytes, syntax: str) -> None:
    with pytest.raises(NotDicom):
        spool.write(replace(received(), transfer_syntax_uid=str(syntax), encoded=encoded))
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("length", [10, 60, 150])
def test_a_data_set_that_ends_before_its_series_is_refused(spool: Spool, length: int) -> None:
    sent = received()
    with pytest.raises(NotDicom):
        spool.write(replace(sent, encoded=sent.encoded[:length]))


def test_a_deflated_trap_is_not_inflated_without_end(spool: Spool) -> None:
    # (0008,0005) with a value of 64 MiB of zeros: some 64 KiB deflated.
    trap = _deflate(b"\x08\x00\x05\x00UN\0\0" + (64 << 20).to_bytes(4, "little") + bytes(64 << 20))
    with pytest.raises(NotDicom):
        spool.write(replace(received(), transfer_syntax_uid=str(DeflatedExplicitVRLittleEndian), encoded=trap))


def test_a_disk_without_the_reserve_is_full_and_nothing_is_left(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    spool = Spool(tmp_path, status.f_blocks * status.f_frsize + 1, lambda: NOW)
    with pytest.raises(SpoolFull, match="free some space or lower the reserve"):
        spool.write(received())
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, SpoolFull), (errno.EDQUOT, SpoolFull), (errno.EIO, OSError)])
@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_disk_that_fails_at_any_fsync_leaves_no_file(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception], call: int
) -> None:
    calls = 0
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected):
        spool.write(received())
    assert files_below(tmp_path) == []
    monkeypatch.undo()
    assert spool.write(received()).newly_written


def test_file_and_folders_are_synced_before_an_instance_counts_as_kept(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    kept = spool.write(received(1))
    series, study = kept.path.parent, kept.path.parent.parent
    assert [name for name in synced if not name.endswith(".part")] == [str(study.parent), str(study), str(series)]
    assert len(synced) == 4
    synced.clear()
    spool.write(received(2))
    assert [name for name in synced if not name.endswith(".part")] == [str(series)]


def test_in_a_group_only_the_instances_of_the_folder_that_fails_to_sync_lose_their_names(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = {1: "1.2.826.0.1.3680043.8.498.3", 2: "1.2.826.0.1.3680043.8.498.4"}
    for number, uid in series.items():  # so that both folders are durable already
        spool.write(received(10 + number, SeriesInstanceUID=uid))
    drafts = []
    for number, uid in series.items():
        sent = received(number, SeriesInstanceUID=uid)
        draft = spool.draft(sent)
        draft.write(sent.encoded)
        drafts.append(draft)
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == series[1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    failed, kept = spool.place_all([draft.finish() for draft in drafts])
    monkeypatch.undo()
    for draft in drafts:
        draft.close()
    assert isinstance(failed, OSError)
    assert isinstance(kept, SpooledInstance)
    assert kept.path in files_below(tmp_path)
    assert [len(files_below(next((tmp_path / "instances").rglob(uid)))) for uid in series.values()] == [1, 2]


def test_a_discarded_instance_is_gone(spool: Spool, tmp_path: Path) -> None:
    spool.discard([spool.write(received())])
    assert files_below(tmp_path) == []


def test_sweep_removes_what_a_dead_writer_left_and_spares_a_living_one(spool: Spool, tmp_path: Path) -> None:
    left, living = tmp_path / "incoming" / "left.part", tmp_path / "incoming" / "living.part"
    for path in (left, living):
        path.write_bytes(b"half an instance")
    with living.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert spool.sweep() == 1
    assert files_below(tmp_path) == [living]


def test_a_restart_reads_every_instance_back(spool: Spool, tmp_path: Path) -> None:
    kept = [spool.write(received(number)) for number in (1, 2, 3)]
    again = list(Spool(tmp_path, 0, lambda: NOW).instances())
    assert [replace(found, peer_address="127.0.0.1", received_at=NOW) for found in again] == kept
    assert all(found.received_at.tzinfo is not None and found.peer_address == "" for found in again)
    assert [found.path for found in spool.instances(skip=lambda path: path != kept[1].path)] == [kept[1].path]


def test_a_foreign_file_in_the_spool_is_named_and_passed_over(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    kept = spool.write(received())
    kept.path.with_name("foreign.dcm").write_bytes(b"not ours")
    assert [found.path for found in spool.instances()] == [kept.path]
    assert "foreign.dcm" in caplog.text


def _length(value: bytes) -> bytes:
    return (len(value) + len(value) % 2).to_bytes(2, "little")


def _deflate(encoded: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(encoded) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def _encode_as(instance: object, *, implicit: bool, little: bool) -> bytes:
    from pynetdicom.dsutils import encode as encode_data_set

    encoded = encode_data_set(instance, implicit, little)  # type: ignore[arg-type]
    assert encoded is not None
    return encoded


def test_the_helper_encodes_what_it_says() -> None:
    assert encode(small_instance()) == received().encoded
    assert isinstance(received(), ReceivedInstance)
