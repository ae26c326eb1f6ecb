"""What headers and rules say of a series: expected count, gaps, who it belongs to and how urgent it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pydicom
import pytest

from daemon.evidence import Evidence, gather, gatherer
from daemon.store import Priority, Store, WaitingSeries
from dicom_io.errors import PeerUnreachable
from dicom_io.synthesis import write_ct_series
from rules.load import load_rules
from rules.rule import RuleSet
from tests.component.store_site import START, new_site

RULES = """\
rules:
  - name: urgent-ct
    match: {Modality: CT}
    destinations: []
    priority: urgent
    completeness: {instances: 8, study_series: 2}
    targets:
      - label: Liver
        category: AnatomicalStructure
        type: {value: "10200004", scheme: SCT, meaning: Liver}
        window: {low: -160, high: 240}
        prompt: {kind: box, unit: pixel, frame: middle, left: 2, top: 2, right: 5, bottom: 6}
"""
WAITING = WaitingSeries(study_instance_uid="1.2", series_instance_uid="1.2.3", last_arrival=START, calling_ae_title="SCANNER")


@pytest.fixture
def ruleset(tmp_path: Path) -> RuleSet:
    (tmp_path / "rules.yaml").write_text(RULES)
    return load_rules([tmp_path / "rules.yaml"])


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    write_ct_series(tmp_path / "images", np.zeros((8, 6, 6), np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    return sorted((tmp_path / "images").iterdir())


@pytest.fixture
def site_store(tmp_path: Path) -> Iterator[Store]:
    with closing(new_site(tmp_path).store) as store:
        yield store


def edit(path: Path, **values: str) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_a_whole_series_has_what_its_rule_says(paths: list[Path], ruleset: RuleSet) -> None:
    assert gather(paths, WAITING, ruleset, None) == Evidence(instances=8, expected_by_rule=8, study_series=2, priority=Priority.URGENT)


def test_slices_that_are_missing_in_the_middle_are_counted(paths: list[Path], ruleset: RuleSet) -> None:
    assert gather([*paths[:3], *paths[5:]], WAITING, ruleset, None).missing_slices == 2


def test_a_series_that_no_rule_matches_is_complete_as_it_is(paths: list[Path]) -> None:
    assert gather([*paths[:3], *paths[5:]], WAITING, RuleSet(rules=()), None) == Evidence(instances=6)


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("RequestedProcedurePriority", "STAT", Priority.STAT),
        ("RequestedProcedurePriority", "LOW", Priority.URGENT),
        ("StudyPriorityID", "HIGH", Priority.URGENT),
    ],
)
def test_the_more_urgent_of_header_and_rule_counts(
    paths: list[Path], ruleset: RuleSet, keyword: str, value: str, expected: Priority
) -> None:
    edit(paths[0], **{keyword: value})
    assert gather(paths, WAITING, ruleset, None).priority is expected


def test_two_patients_in_one_series_are_seen(paths: list[Path], ruleset: RuleSet) -> None:
    edit(paths[3], PatientID="other")
    assert gather(paths, WAITING, ruleset, None).identities == 2


def test_the_source_is_asked_and_its_silence_is_no_count(paths: list[Path], ruleset: RuleSet) -> None:
    def silent(_series: WaitingSeries) -> int | None:
        raise PeerUnreachable("nobody there")

    assert gather(paths, WAITING, ruleset, lambda _series: 9).expected_by_source == 9
    assert gather(paths, WAITING, ruleset, silent).source_failed


def test_a_file_that_cannot_be_read_does_not_end_the_judgement(paths: list[Path], ruleset: RuleSet) -> None:
    paths[2].write_bytes(b"torn")
    assert gather(paths, WAITING, ruleset, None).instances == 8


def test_headers_that_cannot_be_judged_are_left_to_the_worker(site_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Evidence:
        raise ValueError("what no header should hold")

    monkeypatch.setattr("daemon.evidence.gather", broken)
    assert gatherer(site_store, lambda: RuleSet(rules=()), lambda _series: None)(WAITING) == Evidence(instances=0)
