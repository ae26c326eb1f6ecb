"""Each volume of a series gets the rule that its own attributes ask for, and rules decide about gaps, choice and units."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from daemon.planning import MOST_VOLUMES, Planned, Skipped, plan_volumes, wrong_unit
from daemon.refusals import Refusal
from daemon.request import SeriesRequest
from dicom_io.errors import NotAVolume, TooManyVolumes, UnevenSpacing
from dicom_io.series import Series, read_series
from dicom_io.volume_reader import read_stack
from rules.rule import Rule, RuleSet
from tests.unit.dicom_io.mutations import spoil, write_series
from tests.unit.rules.examples import rule, target


def phases(folder: Path, count: int) -> Series:
    """A series of phases, the second of them one slice longer at its end than the others."""
    paths: list[Path] = []
    for n in range(count):

        def number(dataset: FileDataset, k: int, n: int = n) -> None:
            dataset.SOPInstanceUID, dataset.AcquisitionNumber = generate_uid(), n + 1

        written = spoil(write_series(folder / str(n)), number)
        paths += written if n == 1 else written[:-1]
    return read_series(paths)


def plans(series: Series, *rules: Rule) -> tuple[Planned | Skipped | Refusal, ...]:
    request = SeriesRequest(series=series, calling_ae_title="CT1", called_ae_title="AI", created=datetime(2026, 1, 1, tzinfo=UTC))
    return plan_volumes(request, RuleSet(rules=rules))


def planned(series: Series, *rules: Rule) -> list[tuple[str, str]]:
    """Rule and volume of everything that is to be segmented."""
    return [(item.plan.rule.name, item.stack.split) for item in plans(series, *rules) if isinstance(item, Planned)]


def test_each_volume_is_matched_with_its_own_attributes(tmp_path: Path) -> None:
    early = rule(name="early", match={"AcquisitionNumber": "1"})
    late = rule(name="late", match={"AcquisitionNumber": "3"})
    assert planned(phases(tmp_path, 3), early, late) == [("early", "AcquisitionNumber 1"), ("late", "AcquisitionNumber 3")]


@pytest.mark.parametrize(("choice", "numbers"), [("all", "123"), ("first", "1"), ("largest", "2")])
def test_a_rule_takes_all_volumes_or_one(choice: str, numbers: str, tmp_path: Path) -> None:
    series = phases(tmp_path, 3)
    assert planned(series, rule(volumes=choice)) == [("ct", f"AcquisitionNumber {number}") for number in numbers]
    skipped = [item for item in plans(series, rule(volumes=choice)) if isinstance(item, Skipped)]
    assert len(skipped) == 3 - len(numbers)
    assert all(f"rule 'ct' takes only one volume of a series ({choice})" in item.reasons[0] for item in skipped)


def test_a_study_of_function_is_not_segmented_a_hundred_times(tmp_path: Path) -> None:
    series = phases(tmp_path, MOST_VOLUMES + 1)
    (refused,) = plans(series, rule())
    assert isinstance(refused, Refusal)
    assert isinstance(refused.error, TooManyVolumes)
    assert len(planned(series, rule(volumes="first"))) == 1


def test_a_rule_decides_what_becomes_of_a_gap(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    series = read_series([*paths[:2], *paths[3:]])
    (refused,) = plans(series, rule())
    assert isinstance(refused, Refusal)
    assert isinstance(refused.error, UnevenSpacing)
    for policy, slices in (("bridge", 7), ("longest_run", 4)):
        (item,) = plans(series, rule(gaps=policy))
        assert isinstance(item, Planned)
        assert len(item.stack.frames) == slices


def test_facts_of_the_geometry_can_be_asked_for(tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path, "sagittal"))
    assert planned(series, rule(match={"plane": "axial"})) == []
    assert planned(series, rule(match={"plane": "sagittal", "slices": "7", "slice_spacing_mm": "3", "tilt_degrees": "0"})) == [("ct", "")]


def test_what_is_no_volume_is_carried_along_beside_the_volumes(tmp_path: Path) -> None:
    def scout(dataset: FileDataset, index: int) -> None:
        if index == 0:
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    first, second = plans(read_series(spoil(write_series(tmp_path), scout)), rule())
    assert isinstance(first, Planned)
    assert isinstance(second, Refusal)


def test_a_series_without_any_volume_is_refused_whatever_the_rules(tmp_path: Path) -> None:
    def capture(dataset: FileDataset, index: int) -> None:
        dataset.SOPClassUID = SecondaryCaptureImageStorage

    with pytest.raises(NotAVolume):
        plans(read_series(spoil(write_series(tmp_path), capture)))


PERCENTILES = {"kind": "percentile", "low": "1", "high": "99"}
BOX = {"kind": "box", "unit": "pixel", "frame": "middle", "left": "1", "top": "1", "right": "5", "bottom": "5"}


@pytest.mark.parametrize(
    ("one", "fits"),
    [
        (target(window=PERCENTILES, prompt=BOX), True),
        (target(window={"low": "0", "high": "15"}, prompt=BOX), False),
        (target(window=PERCENTILES), False),
    ],
)
def test_intensities_of_a_rule_are_suv_for_pet_and_nothing_else(one: dict[str, object], fits: bool, tmp_path: Path) -> None:
    def positron(dataset: FileDataset, index: int) -> None:
        dataset.Modality, dataset.Units = "PT", "BQML"

    (item,) = plans(read_series(spoil(write_series(tmp_path), positron)), rule(match={"Modality": "PT"}, targets=[one]))
    assert isinstance(item, Planned)
    volume = read_stack(item.stack)
    error = wrong_unit(item.plan, volume, item.stack)
    assert (error is None) == fits
    if error is not None:
        assert "SUV cannot be computed (no-suv-corrections; values are in BQML)" in str(error)
    assert np.isfinite(volume.voxels).all()
