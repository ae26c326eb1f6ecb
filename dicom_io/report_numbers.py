"""The numbers of a report: which measure stands under which code, in which unit, with how many digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicom_io.codes import Code
from dicom_io.measurements import Line, Measurements

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long axis")
SHORT_AXIS = Code(value="103340004", scheme="SCT", meaning="Short axis")
CUBIC_MILLIMETRE = Code(value="mm3", scheme="UCUM", meaning="cubic millimeter")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="millimeter")

MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
STANDARD_DEVIATION = Code(value="386136009", scheme="SCT", meaning="Standard Deviation")
MINIMUM = Code(value="255605001", scheme="SCT", meaning="Minimum")
MAXIMUM = Code(value="56851009", scheme="SCT", meaning="Maximum")
PEAK = Code(value="126031", scheme="DCM", meaning="Peak Value Within ROI")

NO_UNITS = Code(value="1", scheme="UCUM", meaning="no units")
INTENSITIES: Mapping[str, tuple[Code, Code]] = {
    "HU": (
        Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient"),
        Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit"),
    ),
    "SUVbw": (
        Code(value="126401", scheme="DCM", meaning="SUVbw"),
        Code(value="g/ml{SUVbw}", scheme="UCUM", meaning="Standardized Uptake Value body weight"),
    ),
    "SUVlbm": (
        Code(value="126402", scheme="DCM", meaning="SUVlbm"),
        Code(value="g/ml{SUVlbm}", scheme="UCUM", meaning="Standardized Uptake Value lean body mass"),
    ),
    "SUVbsa": (
        Code(value="126403", scheme="DCM", meaning="SUVbsa"),
        Code(value="cm2/ml{SUVbsa}", scheme="UCUM", meaning="Standardized Uptake Value body surface area"),
    ),
    "BQML": (
        Code(value="BQML", scheme="99MEDSAM2D", meaning="Activity concentration"),
        Code(value="Bq/ml", scheme="UCUM", meaning="Becquerels/milliliter"),
    ),
    "MR": (Code(value="110852", scheme="DCM", meaning="MR signal intensity"), NO_UNITS),
}
"""By the volume's unit, else by modality: what intensities are called and measured in. Others are left out: a number whose
meaning nobody states helps nobody."""


@dataclass(frozen=True, kw_only=True)
class ReportedNumber:
    """One number of a report, rounded as it is written."""

    name: Code
    derivation: Code | None
    value: float
    unit: Code
    line: Line | None = None
    """Where a length was taken."""


def reported_numbers(found: Measurements, unit: str, modality: str) -> Iterator[ReportedNumber]:
    """Yield what is said of a segment: millimetres to 0.01, cubic millimetres to 0.1, intensities to 0.001."""
    yield ReportedNumber(name=VOLUME, derivation=None, value=round(found.volume_mm3, 1), unit=CUBIC_MILLIMETRE)
    for name, line in ((LONG_AXIS, found.long_axis), (SHORT_AXIS, found.short_axis)):
        yield ReportedNumber(name=name, derivation=None, value=round(line.length_mm, 2), unit=MILLIMETRE, line=line)
    named = INTENSITIES.get(unit or modality)
    if named is None or found.intensity is None:
        return
    statistics = (
        (MEAN, found.intensity.mean),
        (STANDARD_DEVIATION, found.intensity.standard_deviation),
        (MINIMUM, found.intensity.minimum),
        (MAXIMUM, found.intensity.maximum),
        (PEAK, found.intensity.peak),
    )
    for derivation, value in statistics:
        if value is not None:
            yield ReportedNumber(name=named[0], derivation=derivation, value=round(value, 3), unit=named[1])
