"""Dates and times in headers as moments that can be compared: DA with TM, and DT (PS3.5 section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from dicom_io.slice_stack import SeriesFrame
from dicom_io.values import text_of

_WRITTEN = (("InstanceCreationDate", "InstanceCreationTime"), ("ContentDate", "ContentTime"), ("AcquisitionDate", "AcquisitionTime"))
"""When an image came to be, the surest first."""


def moment(dataset: Dataset, date_keyword: str, time_keyword: str) -> datetime | None:
    """Return date and time of a data set as the scanner's clock showed them, None unless both are stated and sound."""
    date, time = text_of(dataset, date_keyword), text_of(dataset, time_keyword)
    if not date or not time:
        return None
    try:
        day, clock = DA(date), TM(time)
    except ValueError:
        return None
    return None if day is None or clock is None else datetime.combine(day, clock)


def date_time(dataset: Dataset, keyword: str) -> datetime | None:
    """Return a DT attribute as the scanner's clock showed it (an offset from UTC is left out), None if absent or unsound."""
    return parsed_date_time(text_of(dataset, keyword))


def parsed_date_time(text: str) -> datetime | None:
    """Return what a DT text says as the scanner's clock showed it, None if empty or unsound."""
    if len(text) < len("YYYYMMDDHHMM"):
        return None
    try:
        found = DT(text)
    except ValueError:
        return None
    return None if found is None else datetime.combine(found.date(), found.time())


def acquired_at(dataset: Dataset) -> datetime | None:
    """Return when an image was acquired: Acquisition DateTime, else Acquisition Date and Time."""
    return date_time(dataset, "AcquisitionDateTime") or moment(dataset, "AcquisitionDate", "AcquisitionTime")


def newest_first(frames: Sequence[SeriesFrame]) -> list[SeriesFrame] | None:
    """Return frames of different instances by the first clock that all of them state and that tells them apart, else None."""
    for date_keyword, time_keyword in _WRITTEN:
        moments = [moment(frame.header.dataset, date_keyword, time_keyword) for frame in frames]
        known = [stated for stated in moments if stated is not None]
        if len(known) == len(frames) and len(set(known)) == len(known):
            return [frame for _, _, frame in sorted(zip(known, range(len(frames)), frames, strict=True), reverse=True)]
    return None
