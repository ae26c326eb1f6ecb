"""DCMTK as the peer on either side: storescu and echoscu call our listener, storescp takes what our sender sends."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from daemon.receiver import Receiver
from daemon.spool import Recording, Spool
from dicom_io.listener import AssociationEventKind
from dicom_io.peer import Destination
from dicom_io.sender import echo, store
from tests.component.loopback import OUR_AE_TITLE, SCANNER_AE_TITLE, Sink, Witness, data_set_bytes, listening, transfer_syntax_of

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("storescu", "echoscu", "storescp", "dcmconv")),
    reason="DCMTK is not installed (apt install dcmtk)",
)

FOLDER = "compressed_ct_all_syntaxes"
ENCODINGS = [
    ("-xe", "+te", "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"),
    ("-xi", "+ti", "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm"),
    ("-xb", "+tb", "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm"),
    ("-xd", "+td", "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm"),
    ("-xv", "+t=", "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm"),
    ("-xs", "+t=", "CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm"),
    ("-xt", "+t=", "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm"),
    ("-xr", "+t=", "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm"),
]
"""storescu's proposal, dcmconv's encoding, a file of that encoding."""


def run_tool(*command: str | Path, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, check=False)


def storescu(port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_tool("storescu", "-aet", SCANNER_AE_TITLE, "-aec", OUR_AE_TITLE, "127.0.0.1", str(port), *arguments)


@pytest.mark.parametrize(("proposal", "encoding", "name"), ENCODINGS, ids=[proposal for proposal, _, _ in ENCODINGS])
def test_what_storescu_sends_lies_in_the_spool_byte_for_byte(
    shared_folder: Path, tmp_path: Path, proposal: str, encoding: str, name: str
) -> None:
    source = tmp_path / "source.dcm"
    # DCMTK encodes a data set anew when it sends it; through dcmconv the file has that encoding already.
    converted = run_tool("dcmconv", encoding, shared_folder / "data" / FOLDER / name, source)
    assert converted.returncode == 0, converted.stderr
    spool = Spool(tmp_path / "spool", 0, lambda: datetime.now(UTC))
    receiver = Receiver(spool, lambda instances: [Recording.NEW] * len(instances))
    with listening(receiver) as port:
        sent = storescu(port, proposal, source)
    assert sent.returncode == 0, sent.stderr
    (kept,) = spool.instances()
    assert kept.transfer_syntax_uid == transfer_syntax_of(source.read_bytes())
    encoded = data_set_bytes(source.read_bytes())
    # A deflated data set of odd length is padded with one zero on the network (PS3.5 section A.5).
    assert data_set_bytes(kept.path.read_bytes()) == encoded + bytes(len(encoded) % 2)


def test_a_real_jpeg_2000_series_keeps_every_compressed_frame(shared_folder: Path, tmp_path: Path) -> None:
    sources = []
    for path in sorted((shared_folder / "data" / "ct_dicom_j2k_totalseg").iterdir())[:5]:
        # The published files were stripped of their UIDs, without which nothing may be sent; only the file meta has the instance's.
        instance = dcmread(path)
        instance.StudyInstanceUID, instance.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
        instance.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID
        instance.save_as(tmp_path / path.name)
        sources.append(tmp_path / path.name)
    spool = Spool(tmp_path / "spool", 0, lambda: datetime.now(UTC))
    with listening(Receiver(spool, lambda instances: [Recording.NEW] * len(instances))) as port:
        sent = storescu(port, "-xv", *sources)
    assert sent.returncode == 0, sent.stderr
    frames = {str(dcmread(path).SOPInstanceUID): dcmread(path).PixelData for path in sources}
    kept = list(spool.instances())
    assert {instance.sop_instance_uid: dcmread(instance.path).PixelData for instance in kept} == frames
    assert {instance.transfer_syntax_uid for instance in kept} == {"1.2.840.10008.1.2.4.90"}
    assert len({(instance.study_instance_uid, instance.series_instance_uid) for instance in kept}) == 1


def test_echoscu_is_answered() -> None:
    with listening(Sink()) as port:
        assert run_tool("echoscu", "-aet", SCANNER_AE_TITLE, "-aec", OUR_AE_TITLE, "127.0.0.1", str(port)).returncode == 0


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [("STRANGER", OUR_AE_TITLE, "Calling AE Title Not Recognized"), (SCANNER_AE_TITLE, "ELSEWHERE", "Called AE Title Not Recognized")],
)
def test_echoscu_reads_why_it_was_rejected(calling: str, called: str, reason: str) -> None:
    with listening(Sink()) as port:
        answer = run_tool("echoscu", "-aet", calling, "-aec", called, "127.0.0.1", str(port))
    assert answer.returncode != 0
    assert reason in answer.stdout + answer.stderr


def test_echoscu_may_abort(tmp_path: Path) -> None:
    witness = Witness()
    with listening(Sink(), witness) as port:
        run_tool("echoscu", "--abort", "-aet", SCANNER_AE_TITLE, "-aec", OUR_AE_TITLE, "127.0.0.1", str(port))
        witness.wait_for(AssociationEventKind.ABORTED)


def test_storescp_takes_our_files_byte_for_byte(shared_folder: Path, tmp_path: Path) -> None:
    folder = shared_folder / "data" / FOLDER
    paths = [folder / name for proposal, _, name in ENCODINGS if proposal in ("-xi", "-xb", "-xv", "-xr")]
    with running_storescp(tmp_path) as port:
        archive = Destination(name="archive", host="127.0.0.1", port=port, ae_title="ARCHIVE", calling_ae_title=OUR_AE_TITLE)
        echo(archive)
        for path in paths:  # the files share one SOP Instance UID, hence one file name at the peer
            store(archive, [path])
            (arrived,) = tmp_path.glob("CT.*")
            assert data_set_bytes(arrived.read_bytes()) == data_set_bytes(path.read_bytes())
            arrived.unlink()


@contextlib.contextmanager
def running_storescp(folder: Path) -> Iterator[int]:
    """DCMTK's receiver, which writes the bytes as they come (+B), for the length of the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with subprocess.Popen(
        ["storescp", "+B", "+xa", "-aet", "ARCHIVE", "-od", str(folder), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_until_open(port)
            yield port
        finally:
            process.terminate()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise TimeoutError(f"storescp does not listen on port {port}")
