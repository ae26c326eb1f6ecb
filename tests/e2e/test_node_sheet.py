"""The sheet "adding medsam2d as a DICOM node" is true: who enters what it says has a node that works."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.namespaces import in_a_network_of_its_own


def test_orthanc_set_up_by_the_sheet_routes_a_study_and_gets_its_results_into_it(tmp_path: Path) -> None:
    found = in_a_network_of_its_own(f"tests.e2e.orthanc_routing {tmp_path}")
    assert found == {"echo": 0, "jobs": {"DELIVERED": 1}, "modalities": ["CT", "SEG", "SR"], "studies": 1, "committed": [2]}
