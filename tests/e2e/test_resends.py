"""Real processes: a resend costs nothing, a merged patient gets the result anew without inference, other pixels are put aside."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom

from tests.e2e.harness import MEDSAM2D, Site, make_site, need, run, serving, storescp, storescu, wait_until
from tests.e2e.studies import CT_BOX, phantom_study


def ledger(site: Site) -> dict[str, int]:
    """What `medsam2d ledger --json` prints, which exits with 1 where an instance is unexplained."""
    found: dict[str, int] = json.loads(run([*MEDSAM2D, "ledger", "--json", "--config", str(site.config)]).stdout)
    return found


def edited(study: Path, folder: Path, *, pixels: bool) -> Path:
    """The study with another patient, or its first image with another pixel."""
    folder.mkdir()
    for path in sorted(study.iterdir())[: 1 if pixels else None]:
        dataset = pydicom.dcmread(path)
        if pixels:
            image = dataset.pixel_array.copy()
            image[0, 0] += 1
            dataset.PixelData = image.tobytes()
        else:
            dataset.PatientID, dataset.PatientName = "MERGED-1", "Right^Person"
        dataset.save_as(folder / path.name)
    return folder


def test_resends_and_corrections_of_a_delivered_study(tmp_path: Path) -> None:
    need("storescu", "storescp")
    site = make_site(tmp_path, CT_BOX)
    study = tmp_path / "study"
    phantom_study(study)
    slices = len(list(study.iterdir()))
    with storescp(site), serving(site) as service:
        assert storescu(site, study).returncode == 0
        wait_until(lambda: len(site.results()) == 2, "the first result and its report")
        (first,) = site.segmentations()

        assert storescu(site, study).returncode == 0
        assert storescu(site, edited(study, tmp_path / "merged", pixels=False)).returncode == 0
        wait_until(lambda: len(site.results()) == 4, "the result and report for the right patient")

        assert storescu(site, edited(study, tmp_path / "other", pixels=True)).returncode == 0
        wait_until(lambda: "came again from STORESCU as another image" in service.log.read_text(), "the alert")
        accounts = ledger(site)
        trail = run([*MEDSAM2D, "audit", "show", "--config", str(site.config)]).stdout.splitlines()
        quarantined = json.loads(run([*MEDSAM2D, "quarantine", "list", "--json", "--config", str(site.config)]).stdout)

    (second,) = [path for path in site.segmentations() if path != first]
    wrong, right = pydicom.dcmread(first), pydicom.dcmread(second)
    assert (right.PatientID, str(right.PatientName)) == ("MERGED-1", "Right^Person")
    assert right.SOPInstanceUID != wrong.SOPInstanceUID
    assert right.PixelData == wrong.PixelData
    assert "REPLACES EARLIER" in right.ContentDescription
    created = [record["details"] for record in map(json.loads, trail) if record["event"] == "segmentation-created"]
    assert [details["sop_instance_uid"] for details in created] == [wrong.SOPInstanceUID, right.SOPInstanceUID]
    assert created[0]["job_key"] == created[1]["job_key"]
    assert service.log.read_text().count("no inference") == 1
    assert len(list((tmp_path / "state" / "masks").iterdir())) == 1
    assert len(quarantined) == 1
    assert accounts == {
        "received": 2 * slices + 1, "in_results": 2 * slices, "skipped": 0, "refused": 0, "quarantined": 1, "waiting": 0, "unexplained": 0,
    }  # fmt: skip
