"""A real study goes in by DCMTK's storescu and comes back as a SEG that other people's readers place alike."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dicom_io.segmentation_check import place_frames
from dicom_io.segmentation_reader import read_segmentation
from dicom_io.series import read_series
from tests.e2e.harness import MEDSAM2D, Site, make_site, need, run, serving, storescp, storescu, wait_until
from tests.e2e.namespaces import in_a_network_of_its_own
from tests.e2e.orthanc_journey import POINTS
from tests.e2e.readers import dcentvfy_errors, dciodvfy_errors, dcmqi_masks, on_grid, tool
from tests.e2e.studies import CT_BOX, NOTHING_MATCHES, chest_ct, jpeg_2000_ct, phantom_study

TOLERANCE_MM = 1e-2
"""Positions are written with as many decimals as a DS allows."""

STUDIES: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "chest CT of 134 slices": (chest_ct, ()),
    "JPEG 2000 CT of 20 slices": (jpeg_2000_ct, ("-xv",)),
}


@pytest.mark.parametrize("study", STUDIES)
def test_a_real_series_comes_back_as_a_seg_that_independent_readers_place_alike(shared_folder: Path, tmp_path: Path, study: str) -> None:
    need("storescu", "storescp", "dciodvfy", "dcentvfy")
    tool("segimage2itkimage")
    make_study, options = STUDIES[study]
    make_study(shared_folder, tmp_path)
    images = sorted((tmp_path / "images").iterdir())
    site = make_site(tmp_path, CT_BOX)
    with storescp(site), serving(site):
        assert storescu(site, tmp_path / "images", *options).returncode == 0
        wait_until(lambda: len(site.results()) == 2 and jobs(site).get("DELIVERED") == 1, "the SEG to be delivered")
    (seg,) = site.segmentations()
    (report,) = set(site.results()) - {seg}
    assert dciodvfy_errors(seg) == dciodvfy_errors(report) == []
    assert dcentvfy_errors([*images, seg, report]) == []
    stack = read_series(images).stack
    shape = (len(stack.frames), *stack.shape)
    read = read_segmentation(seg)
    own = np.zeros(shape, np.bool_)
    for k, pixels in zip(place_frames(read, stack.affine), read.masks, strict=True):
        assert k is not None
        own[k] |= pixels
    (tmp_path / "dcmqi").mkdir()
    (placed,) = dcmqi_masks(seg, tmp_path / "dcmqi").values()
    assert (on_grid(placed, stack.affine, shape, TOLERANCE_MM) == own).all()
    assert (meant_mask(site, tmp_path, shape) == own).all()


def meant_mask(site: Site, folder: Path, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """What the pipeline makes of the same files without the network."""
    out = folder / "segmented"
    run(
        [
            *MEDSAM2D,
            "segment",
            str(folder / "images"),
            "--rules",
            str(site.folder / "rules.yaml"),
            "--out",
            str(out),
            "--config",
            str(site.config),
        ]
    )
    (seg,) = out.glob("seg-*.dcm")
    read = read_segmentation(seg)
    mask = np.zeros(shape, np.bool_)
    affine = read_series(sorted((folder / "images").iterdir())).stack.affine
    for k, pixels in zip(place_frames(read, affine), read.masks, strict=True):
        assert k is not None
        mask[k] |= pixels
    return mask


def test_orthanc_commits_one_seg_and_shows_it_though_the_delivery_was_killed_at_every_point(tmp_path: Path) -> None:
    found = in_a_network_of_its_own(f"tests.e2e.orthanc_journey {tmp_path}")
    assert found.pop("killed") == sorted(POINTS)
    # An object goes out again only where the first time may have been cut off: request sent, or answer received and not yet kept.
    assert found.pop("sent") in (1, 2, 3)
    assert found == {"modalities": ["SEG", "SR"], "instances": 2, "preview": 200, "jobs": {"DELIVERED": 1}}


def test_orthanc_stores_what_is_sent_by_stow_rs(tmp_path: Path) -> None:
    plugin = Path(os.environ.get("MEDSAM2D_ORTHANC_DICOMWEB", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"))
    if not plugin.exists():
        pytest.skip(f"no DICOMweb plugin of Orthanc at {plugin} (apt-get install orthanc-dicomweb)")
    found = in_a_network_of_its_own(f"tests.e2e.orthanc_stow {tmp_path} {plugin}")
    assert found == {"echo": "answers 200", "outcomes": ["stored"] * 3, "instances": 2}


def test_a_series_that_no_rule_matches_is_skipped_with_the_reason_and_accounted_for(tmp_path: Path) -> None:
    need("storescu")
    site = make_site(tmp_path, NOTHING_MATCHES)
    phantom_study(tmp_path / "study")
    with serving(site):
        assert storescu(site, tmp_path / "study").returncode == 0
        wait_until(lambda: jobs(site).get("SKIPPED") == 1, "the series to be skipped")
        listed = run([*MEDSAM2D, "jobs", "list", "--json", "--config", str(site.config)]).stdout
        ledger = site.status()["ledger"]
    assert "expected 'MR', got 'CT'" in listed
    assert isinstance(ledger, dict)
    assert (ledger["skipped"], ledger["balanced"]) == (32, True)


def test_rules_that_changed_are_read_anew_without_a_restart_and_a_released_job_meets_them(tmp_path: Path) -> None:
    need("storescu", "storescp")
    site = make_site(tmp_path, NOTHING_MATCHES)
    phantom_study(tmp_path / "study")
    with storescp(site), serving(site) as service:
        assert storescu(site, tmp_path / "study").returncode == 0
        wait_until(lambda: jobs(site).get("SKIPPED") == 1, "the series to be skipped")
        (site.folder / "rules.yaml").write_text("rules: [")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the rules stay as they were" in service.log.read_text(), "the faulty rules to be refused")
        (site.folder / "rules.yaml").write_text(CT_BOX)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "rules read anew: 1" in service.log.read_text(), "the new rules")
        run([*MEDSAM2D, "jobs", "retry", "1", "--config", str(site.config)])
        wait_until(lambda: jobs(site).get("DELIVERED") == 1, "the delivery")
    assert len(site.segmentations()) == 1
    assert "the chain is whole" in run([*MEDSAM2D, "audit", "verify", "--config", str(site.config)]).stdout


def test_a_result_waits_for_a_destination_that_is_down_and_is_delivered_when_it_comes_up(tmp_path: Path) -> None:
    need("storescu", "storescp")
    site = make_site(tmp_path, CT_BOX)
    phantom_study(tmp_path / "study")
    with serving(site):
        assert storescu(site, tmp_path / "study").returncode == 0
        wait_until(lambda: bool(errors(site)), "the first failed delivery")
        assert errors(site)[0]["code"] == "peer-unreachable"
        with storescp(site):
            wait_until(lambda: jobs(site).get("DELIVERED") == 1, "the delivery")
    assert len(site.segmentations()) == 1


def jobs(site: Site) -> dict[str, int]:
    found = site.status()["jobs"]
    assert isinstance(found, dict)
    return found


def errors(site: Site) -> list[dict[str, object]]:
    found = site.status()["last_errors"]
    assert isinstance(found, list)
    return found
