"""Standardised uptake values by body weight: the factor that takes a PET image's rescaled values to g/ml.

SUVbw = activity concentration [Bq/ml] x weight [g] / injected dose [Bq], both at one moment (PS3.3 C.8.9.1; QIBA FDG-PET
profile, 2016, appendix G). Which moment depends on Decay Correction, and makers state it in different places. Where a header
does not carry all that it takes, there is no factor and a stated reason: never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from dicom_io.clock import acquired_at, date_time, moment, parsed_date_time
from dicom_io.frame_attributes import items_of, numbers, values_of
from dicom_io.instance import InstanceHeader
from dicom_io.values import text_of

GRAMS_A_KILOGRAM = 1000.0
LEAST_DOSE_BQ = 1e5
"""Doses are 10^7 to 10^9 Bq; a smaller number is one in MBq, which would be wrong by a million."""
WEIGHTS_KG = (0.2, 500.0)
LONGEST_DELAY = timedelta(hours=24)
"""From injection to scan; a longer one is a wrong clock or date (long-lived tracers are imaged days later: not by this factor)."""
LEAST_LEFT = 1e-6
"""Of the dose, at the moment of the scan: less is a wrong half-life, and would multiply noise."""
_NEEDED_CORRECTIONS = ("ATTN", "DECY")
_PHILIPS = "Philips PET Private Group"
_GE = "GEMS_PETD_01"

SUV_BW, BECQUEREL = "SUVbw", "BQML"


@dataclass(frozen=True, kw_only=True)
class PetScale:
    """How a PET series' rescaled values are to be read."""

    factors: Mapping[str, float]
    """SOP Instance UID -> factor from the rescaled value to `unit`."""
    unit: str
    """`SUVbw`; else the values' own unit: Units of the header, or another kind of SUV (`SUVlbm`, `SUVbsa`)."""
    quirk: str = ""
    """Why there is no SUVbw: a code that starts with `no-suv-`; empty where there is."""


class _NoFactor(Exception):
    """Carries the end of the quirk's code."""


def pet_scale(headers: Sequence[InstanceHeader]) -> PetScale:
    """Return the factors of a PET volume's instances; the values stay as they are, in their own unit, where one has none."""
    datasets = [header.dataset for header in headers]
    units = sorted({_units(dataset) for dataset in datasets})
    unit = units[0] if len(units) == 1 else ""
    try:
        if len(units) != 1:
            raise _NoFactor("mixed-units")
        clock = _Clock(reference=_reference(datasets))
        factors = {header.sop_instance_uid: _factor(header.dataset, unit, clock) for header in headers}
    except _NoFactor as reason:
        return PetScale(factors=dict.fromkeys((header.sop_instance_uid for header in headers), 1.0), unit=unit, quirk=f"no-suv-{reason}")
    return PetScale(factors=factors, unit=SUV_BW)


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """The moment to which a series' activities were decay-corrected where Decay Correction is START."""

    reference: datetime | None


def _units(dataset: Dataset) -> str:
    """Units, with the kind of SUV where they are one (PS3.3 C.8.9.1.1.3: SUV Type absent means body weight)."""
    stated = text_of(dataset, "Units").upper()
    kind = (text_of(dataset, "SUVType") or "BW").upper()
    if stated in ("GML", "G/ML"):
        return "GML" if kind == "BW" else f"SUV{kind.lower()}"
    return "SUVbsa" if stated == "CM2ML" else stated


def _factor(dataset: Dataset, units: str, clock: _Clock) -> float:
    if units == "GML":
        return 1.0
    if units not in (BECQUEREL, "CNTS"):
        raise _NoFactor("units")
    _expect_corrected(dataset)
    return _from_activity(dataset, clock) if units == BECQUEREL else _from_counts(dataset, clock)


def _expect_corrected(dataset: Dataset) -> None:
    corrected = {str(value).upper() for value in values_of(dataset, "CorrectedImage")}
    if not corrected.issuperset(_NEEDED_CORRECTIONS):
        raise _NoFactor("corrections")


def _from_counts(dataset: Dataset, clock: _Clock) -> float:
    """Philips counts: a factor straight to SUVbw, else one to Bq/ml (private block (7053,10xx))."""
    to_suv, to_activity = _private(dataset, _PHILIPS, 0x00), _private(dataset, _PHILIPS, 0x09)
    if to_suv > 0.0:
        return to_suv
    if to_activity > 0.0:
        return to_activity * _from_activity(dataset, clock)
    raise _NoFactor("counts")


def _from_activity(dataset: Dataset, clock: _Clock) -> float:
    """weight / dose, with the dose decayed to the moment that the activities refer to."""
    weight = next(iter(numbers(dataset, "PatientWeight")), 0.0)
    if not WEIGHTS_KG[0] <= weight <= WEIGHTS_KG[1]:
        raise _NoFactor("weight")
    tracer = next(iter(items_of(dataset, "RadiopharmaceuticalInformationSequence")), None)
    if tracer is None:
        raise _NoFactor("dose")
    dose = next(iter(numbers(tracer, "RadionuclideTotalDose")), 0.0)
    if dose < LEAST_DOSE_BQ:
        raise _NoFactor("dose")
    return weight * GRAMS_A_KILOGRAM / (dose * _decay(dataset, tracer, clock))


def _decay(dataset: Dataset, tracer: Dataset, clock: _Clock) -> float:
    """What is left of the dose at the moment to which the activities were corrected."""
    correction = text_of(dataset, "DecayCorrection").upper()
    if correction == "ADMIN":
        return 1.0
    if correction != "START":
        raise _NoFactor("decay-correction")
    half_life = next(iter(numbers(tracer, "RadionuclideHalfLife")), 0.0)
    if half_life <= 0.0:
        raise _NoFactor("half-life")
    injected = _injected(dataset, tracer, clock)
    if clock.reference is None or injected is None or not timedelta(0) <= clock.reference - injected <= LONGEST_DELAY:
        raise _NoFactor("times")
    left = float(2.0 ** (-(clock.reference - injected).total_seconds() / half_life))
    if left < LEAST_LEFT:
        raise _NoFactor("half-life")
    return left


def _injected(dataset: Dataset, tracer: Dataset, clock: _Clock) -> datetime | None:
    """Start of the injection; a bare time belongs to the series' day, or to the day before where it is later than the scan."""
    stated = date_time(tracer, "RadiopharmaceuticalStartDateTime")
    if stated is not None or clock.reference is None:
        return stated
    bare = Dataset()
    bare.AcquisitionDate = clock.reference.strftime("%Y%m%d")
    bare.AcquisitionTime = text_of(tracer, "RadiopharmaceuticalStartTime")
    found = moment(bare, "AcquisitionDate", "AcquisitionTime")
    return found - timedelta(days=1) if found is not None and found > clock.reference else found


def _reference(datasets: Sequence[Dataset]) -> datetime | None:
    """Series Date and Time unless a slice was acquired before it (a reconstruction's clock), then General Electric's own
    moment of decay correction, else the earliest acquisition."""
    acquired = [found for found in map(acquired_at, datasets) if found is not None]
    series = moment(datasets[0], "SeriesDate", "SeriesTime")
    if series is not None and all(series <= one for one in acquired):
        return series
    return _general_electric(datasets[0]) or min(acquired, default=None)


def _general_electric(dataset: Dataset) -> datetime | None:
    """PET scan date and time, private element (0009,xx0D) of General Electric."""
    try:
        return parsed_date_time(str(dataset.private_block(0x0009, _GE)[0x0D].value).strip())
    except (KeyError, ValueError, TypeError):
        return None


def _private(dataset: Dataset, creator: str, offset: int) -> float:
    try:
        found = float(dataset.private_block(0x7053, creator)[offset].value)
    except (KeyError, ValueError, TypeError):
        return 0.0
    return found if math.isfinite(found) else 0.0
