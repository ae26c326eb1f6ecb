"""PET values become SUV by body weight where the header states all that it takes, in every way that makers state it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from dicom_io.series import read_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import spoil, voxels, write_series

WEIGHT_KG, DOSE_BQ, HALF_LIFE_SECONDS = 80.0, 4e8, 6588.0
HOUR = 3600.0
AT_INJECTION = WEIGHT_KG * 1000.0 / DOSE_BQ
AFTER_AN_HOUR = AT_INJECTION * 2.0 ** (HOUR / HALF_LIFE_SECONDS)
"""Activities corrected to the scan's start, one hour after the injection: what is left of the dose is smaller."""

Change = Callable[[FileDataset], None]


def pet(folder: Path, change: Change) -> Volume:
    """A PET series in Bq/ml, decay-corrected to its start at 11:00, injected at 10:00, and changed."""

    def make(dataset: FileDataset, index: int) -> None:
        dataset.SOPClassUID, dataset.Modality = PositronEmissionTomographyImageStorage, "PT"
        dataset.Units, dataset.DecayCorrection = "BQML", "START"
        dataset.CorrectedImage = ["DECY", "ATTN", "SCAT"]
        dataset.PatientWeight = str(WEIGHT_KG)
        dataset.SeriesDate = dataset.AcquisitionDate = "20240229"
        dataset.SeriesTime, dataset.AcquisitionTime = "110000", f"11{index:02d}30"
        tracer = Dataset()
        tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = str(DOSE_BQ), str(HALF_LIFE_SECONDS)
        tracer.RadiopharmaceuticalStartTime = "100000"
        dataset.RadiopharmaceuticalInformationSequence = [tracer]
        dataset.RescaleSlope = str(index + 1)
        change(dataset)

    return read_volume(read_series(spoil(write_series(folder), make)))


def tracer(dataset: Dataset) -> Dataset:
    item: Dataset = dataset.RadiopharmaceuticalInformationSequence[0]
    return item


def expect_factor(volume: Volume, factor: float) -> None:
    slopes = np.arange(1, 8)[:, None, None]
    assert volume.unit == "SUVbw"
    assert np.allclose(volume.voxels, voxels() * slopes * factor, rtol=1e-5, atol=1e-7)
    assert not any(quirk.startswith("no-suv") for quirk in volume.quirks)


def untouched(dataset: FileDataset) -> None:
    pass


def to_injection(dataset: FileDataset) -> None:
    dataset.DecayCorrection = "ADMIN"


def with_date_time(dataset: FileDataset) -> None:
    tracer(dataset).RadiopharmaceuticalStartDateTime = "20240229100000.00"
    tracer(dataset).RadiopharmaceuticalStartTime = "030000"


def over_midnight(dataset: FileDataset) -> None:
    dataset.SeriesDate = dataset.AcquisitionDate = "20240301"
    dataset.SeriesTime, dataset.AcquisitionTime = "003000", "003100"
    tracer(dataset).RadiopharmaceuticalStartTime = "233000"


def reconstructed_later(dataset: FileDataset) -> None:
    """The series is younger than its acquisitions: the earliest of those counts, not each slice's own."""
    dataset.SeriesTime = "150000"
    dataset.AcquisitionTime = f"{110000 + 100 * (int(dataset.InstanceNumber) - 1)}"


def general_electric(dataset: FileDataset) -> None:
    dataset.SeriesTime = "150000"
    dataset.AcquisitionTime = "111500"
    dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240229110000.00")


def suv_already(dataset: FileDataset) -> None:
    dataset.Units, dataset.CorrectedImage, dataset.PatientWeight = "GML", [], None


def philips_suv(dataset: FileDataset) -> None:
    dataset.Units = "CNTS"
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.00125")


def philips_activity(dataset: FileDataset) -> None:
    dataset.Units = "CNTS"
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0")
    block.add_new(0x09, "DS", "2.5")


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        (untouched, AFTER_AN_HOUR),
        (to_injection, AT_INJECTION),
        (with_date_time, AFTER_AN_HOUR),
        (over_midnight, AFTER_AN_HOUR),
        (reconstructed_later, AFTER_AN_HOUR),
        (general_electric, AFTER_AN_HOUR),
        (suv_already, 1.0),
        (philips_suv, 0.00125),
        (philips_activity, 2.5 * AFTER_AN_HOUR),
    ],
)
def test_every_way_to_state_activity_gives_the_suv_of_the_definition(change: Change, factor: float, tmp_path: Path) -> None:
    expect_factor(pet(tmp_path, change), factor)


def lose_weight(dataset: FileDataset) -> None:
    dataset.PatientWeight = ""


def weigh_in_grams(dataset: FileDataset) -> None:
    dataset.PatientWeight = "80000"


def dose_in_megabecquerel(dataset: FileDataset) -> None:
    tracer(dataset).RadionuclideTotalDose = "400"


def lose_the_tracer(dataset: FileDataset) -> None:
    del dataset.RadiopharmaceuticalInformationSequence


def do_not_correct_decay(dataset: FileDataset) -> None:
    dataset.DecayCorrection = "NONE"


def do_not_correct_attenuation(dataset: FileDataset) -> None:
    dataset.CorrectedImage = ["DECY"]


def lose_half_life(dataset: FileDataset) -> None:
    tracer(dataset).RadionuclideHalfLife = "0"


def inject_after_the_scan(dataset: FileDataset) -> None:
    tracer(dataset).RadiopharmaceuticalStartDateTime = "20240229120000"


def lose_times(dataset: FileDataset) -> None:
    tracer(dataset).RadiopharmaceuticalStartTime = ""


def count(dataset: FileDataset) -> None:
    dataset.Units = "CNTS"


def measure_uptake(dataset: FileDataset) -> None:
    dataset.Units = "PROPCNTS"


def by_lean_mass(dataset: FileDataset) -> None:
    dataset.Units, dataset.SUVType = "GML", "LBM"


def mix_units(dataset: FileDataset) -> None:
    dataset.Units = "GML" if int(dataset.InstanceNumber) == 3 else "BQML"


@pytest.mark.parametrize(
    ("change", "quirk", "unit"),
    [
        (lose_weight, "no-suv-weight", "BQML"),
        (weigh_in_grams, "no-suv-weight", "BQML"),
        (dose_in_megabecquerel, "no-suv-dose", "BQML"),
        (lose_the_tracer, "no-suv-dose", "BQML"),
        (do_not_correct_decay, "no-suv-decay-correction", "BQML"),
        (do_not_correct_attenuation, "no-suv-corrections", "BQML"),
        (lose_half_life, "no-suv-half-life", "BQML"),
        (inject_after_the_scan, "no-suv-times", "BQML"),
        (lose_times, "no-suv-times", "BQML"),
        (count, "no-suv-counts", "CNTS"),
        (measure_uptake, "no-suv-units", "PROPCNTS"),
        (by_lean_mass, "no-suv-units", "SUVlbm"),
        (mix_units, "no-suv-mixed-units", ""),
    ],
)
def test_without_all_that_it_takes_values_stay_in_their_own_unit_and_the_reason_is_stated(
    change: Change, quirk: str, unit: str, tmp_path: Path
) -> None:
    volume = pet(tmp_path, change)
    assert (volume.unit, volume.quirks) == (unit, (quirk,))
    assert np.array_equal(volume.voxels, (voxels() * np.arange(1, 8)[:, None, None]).astype(np.float32))
