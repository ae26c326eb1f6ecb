"""What is asked of the journey: a complete series, how it arrived, and the date that its result carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dicom_io.instance import InstanceHeader
from dicom_io.series import Series
from model.prompt import BoxPrompt


@dataclass(frozen=True, kw_only=True)
class SeriesRequest:
    """A complete series to segment."""

    series: Series
    calling_ae_title: str
    called_ae_title: str
    created: datetime
    """Aware; the result's content date. The same job always carries the same moment, so that a rerun is byte-identical."""
    boxes: tuple[BoxPrompt, ...] = ()
    """Boxes that a person drew instead of the rule's prompt recipes; the n-th belongs to the n-th target."""

    study: tuple[InstanceHeader, ...] = ()
    """Other instances of the same study: annotation objects, and images that those may refer to."""

    @property
    def attributes(self) -> dict[str, str | tuple[str, ...]]:
        """The series' DICOM attributes by keyword, with the two AE titles of the association that brought it."""
        network = {"calling_ae_title": self.calling_ae_title, "called_ae_title": self.called_ae_title}
        return {**self.series.attributes, **network}
