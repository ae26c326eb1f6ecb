"""A label map for an archive that knows none: the binary form goes in its place, with the report that refers to it and no other."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage
from pynetdicom import build_context, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from daemon.config import load_config
from daemon.delivery import Desk, deliver_due
from daemon.routes import routes_of
from daemon.store import JobState, this_process
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.segmentation_types import SegmentationForm
from tests.component.delivery_site import Heard
from tests.component.loopback import peer_scp
from tests.component.test_worker import RULES, Site, bright, images

__all__ = ["images"]
EXPLICIT = "1.2.840.10008.1.2.1"


def test_an_archive_without_label_maps_gets_the_binary_form_and_its_report(tmp_path: Path, images: Path) -> None:
    site = Site(tmp_path, bright, images, RULES.replace("    targets:", "    outputs: {segmentation_type: labelmap}\n    targets:"))
    site.worker.work_once()
    taken: list[bytes] = []

    def keep(event: evt.Event) -> int:
        taken.append(event.encoded_dataset())
        return 0x0000

    contexts = [build_context(SegmentationStorage, EXPLICIT), build_context(ComprehensiveSRStorage, EXPLICIT), build_context(Verification)]
    heard = Heard()
    with peer_scp(contexts, keep) as port:
        (tmp_path / "config.yaml").write_text(
            f"folders: {{state: state}}\ndestinations:\n  archive: {{host: 127.0.0.1, port: {port}, ae_title: ARCHIVE, commitment: none}}\n"
        )
        route = routes_of(load_config(tmp_path / "config.yaml"))["archive"]
        desk = Desk(store=site.store, clock=site.clock, observer=heard, worker=this_process("delivery"))
        while deliver_due("archive", route, desk):
            pass
    assert site.state() is JobState.DELIVERED
    segmentation, report = [pydicom.dcmread(path) for path in _written(tmp_path, taken)]
    assert (segmentation.SOPClassUID, segmentation.SegmentationType) == (SegmentationStorage, "BINARY")
    assert int(read_segmentation(tmp_path / "0.dcm").masks.sum()) == 4 * 5 * 4
    referred = {
        str(item.ReferencedSOPInstanceUID)
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    label_maps = {
        path.stem
        for path in (tmp_path / "results").glob("*.dcm")
        if pydicom.dcmread(path).Modality == "SEG" and read_segmentation(path).form is SegmentationForm.LABELMAP
    }
    assert len(label_maps) == 1
    assert str(segmentation.SOPInstanceUID) in referred
    assert not label_maps & referred, "the report must not refer to what the archive never got"


def _written(folder: Path, parts: list[bytes]) -> list[Path]:
    paths = [folder / f"{number}.dcm" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths
