"""What names a patient is in spool and results, and nowhere that people and monitoring look: log, pages, metrics, names of files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from starlette.testclient import TestClient

from daemon.config import Config, FolderSettings
from daemon.listener_settings import ListenerSettings
from daemon.logs import configure_logging
from daemon.result_pictures import ResultPictures
from daemon.store import JobState
from daemon.web.app import application
from daemon.web.server import views_of
from dicom_io.segmentation import write_segmentation
from dicom_io.synthesis import write_ct_series
from tests.component.test_worker import Answer, Site, bright

PLANTED = {
    "PatientName": "QUASIMODO^ESMERALDA",
    "PatientID": "PID-7319-XQ",
    "PatientBirthDate": "19310417",
    "AccessionNumber": "ACC-90417-Z",
    "ReferringPhysicianName": "FROLLO^CLAUDE",
    "StudyDescription": "BELLTOWER-FALL",
    "SeriesDescription": "GARGOYLE-AXIAL",
    "InstitutionName": "HOTEL-DIEU-1482",
}
VALUES = tuple(value.split("^")[0] for value in PLANTED.values())


def planted(folder: Path, missing: int | None = None) -> Path:
    """Six slices with a bright block, of a patient who can be recognised; one may be missing."""
    voxels = np.full((6, 10, 8), -100, np.int16)
    voxels[1:5, 2:7, 2:6] = 300
    paths = write_ct_series(folder, voxels, np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]]))
    for path in paths:
        dataset = pydicom.dcmread(path)
        for keyword, value in PLANTED.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    if missing is not None:
        paths[missing].unlink()
    return folder


def broken(frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """A fault of ours whose words quote the patient."""
    raise ValueError(f"cannot segment {PLANTED['PatientName']}")


CASES: tuple[tuple[str, Answer, int | None, JobState], ...] = (
    ("success", bright, None, JobState.DELIVERING),
    ("refusal", bright, 2, JobState.REFUSED),
    ("gate", lambda frames: bright(frames) & (np.arange(len(frames)) < 3)[:, None, None], None, JobState.QUARANTINED),
    ("fault", broken, None, JobState.QUEUED),
)


@pytest.mark.parametrize(("name", "answer", "missing", "state"), CASES, ids=[case[0] for case in CASES])
def test_nobody_who_looks_at_the_service_learns_who_the_patient_is(
    name: str,
    answer: Answer,
    missing: int | None,
    state: JobState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "gate":

        def upside_down(volume, masks, segments, identity, **options):  # type: ignore[no-untyped-def]
            return write_segmentation(volume, [mask[::-1] for mask in masks], segments, identity, **options)

        monkeypatch.setattr("daemon.writing.write_segmentation", upside_down)
    levels = {logger: logging.getLogger(logger).level for logger in ("", "pynetdicom", "pydicom", "highdicom")}
    handlers = list(logging.getLogger().handlers)
    configure_logging("debug", "worker")
    try:
        site = Site(tmp_path, answer, planted(tmp_path / "images", missing))
        site.worker.pictures = ResultPictures(tmp_path / "pictures")
        site.worker.work_once()
    finally:
        logging.getLogger().handlers[:] = handlers
        for logger, level in levels.items():
            logging.getLogger(logger).setLevel(level)
    assert site.state() is state
    seen = {"log": capsys.readouterr().err, **pages(site, tmp_path)}
    seen["names of files"] = "\n".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if "images" not in path.parts)
    seen["audit trail"] = "".join(path.read_text() for path in site.audit_folder.glob("*.jsonl"))
    assert ("<img" in seen["/jobs/1"]) is (name == "success")
    assert "job 1" in seen["log"], "nothing was logged, so that this proves nothing"
    found = {place: [value for value in VALUES if value in text] for place, text in seen.items()}
    assert {place: values for place, values in found.items() if values} == {}
    expect_inside(tmp_path)


def pages(site: Site, folder: Path) -> dict[str, str]:
    """Every page, and the metrics."""
    settings = Config(folders=FolderSettings(state=folder), listener=ListenerSettings(port=1))
    browser = TestClient(application(views_of(settings, site.store, site.clock), ("testserver",), None))
    return {path: browser.get(path).text for path in ("/", "/jobs", "/jobs/1", "/quarantine", "/destinations", "/metrics", "/readyz")}


def expect_inside(folder: Path) -> None:
    """The patient is on record where that is meant, in files that nobody else may read."""
    kept = [path for place in ("spool", "results") for path in (folder / place).rglob("*.dcm")]
    assert any(PLANTED["PatientID"].encode() in path.read_bytes() for path in kept)
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in kept if path.stat().st_mode & 0o077} == {}
