"""kill -9 of the whole process tree, at every stage of a series' journey, then a restart: the same SEG, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from tests.e2e.harness import Site, make_site, need, serving, storescp, storescu, wait_until
from tests.e2e.studies import CT_BOX, phantom_study


def jobs(site: Site) -> dict[str, int]:
    found = site.status()["jobs"]
    assert isinstance(found, dict)
    return found


MOMENTS: dict[str, Callable[[Site], bool]] = {
    "after the last acknowledgement": lambda site: True,
    "while the job runs": lambda site: jobs(site).get("RUNNING", 0) == 1,
    "once the result is stored": lambda site: jobs(site).get("DELIVERING", 0) + jobs(site).get("DELIVERED", 0) == 1,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_service_ends_with_the_same_result_sent_at_most_once_more(tmp_path: Path, moment: str) -> None:
    need("storescu", "storescp")
    site = make_site(tmp_path, CT_BOX)
    phantom_study(tmp_path / "study")
    with storescp(site):
        with serving(site) as service:
            assert storescu(site, tmp_path / "study").returncode == 0
            wait_until(lambda: MOMENTS[moment](site), moment)
            service.kill_everything()
        with serving(site):
            wait_until(lambda: jobs(site).get("DELIVERED", 0) == 1, "the result to be delivered")
            ledger = site.status()["ledger"]
    assert isinstance(ledger, dict)
    assert ledger["balanced"] is True
    assert ledger["in_results"] == len(list((tmp_path / "study").iterdir()))
    found = [pydicom.dcmread(path) for path in site.results()]
    for modality in ("SEG", "SR"):
        uids = [dataset.SOPInstanceUID for dataset in found if dataset.Modality == modality]
        assert 1 <= len(uids) <= 2
        assert len(set(uids)) == 1
