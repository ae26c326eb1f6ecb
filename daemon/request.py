"""What is asked of the journey: a complete series, how it arrived, and the date that its result carries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from daemon.annotation_objects import has_annotations
from dicom_io.geometry import plane_name, slice_distance_mm, tilt_degrees
from dicom_io.instance import InstanceHeader
from dicom_io.series import Series
from dicom_io.slice_stack import Refused, SliceStack
from model.prompt import BoxPrompt
from rules.facts import Geometry, annotation_facts, geometry_facts, header_facts


@dataclass(frozen=True, kw_only=True)
class PredecessorObject:
    """An earlier result, as a reference to it needs it (PS3.3 C.17.2, Predecessor Documents Sequence)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class SeriesRequest:
    """A complete series to segment."""

    series: Series
    calling_ae_title: str
    called_ae_title: str
    source_address: str = ""
    """Where it was sent from; empty where that is not known."""
    created: datetime
    """Aware; the result's content date. The same job always carries the same moment, so that a rerun is byte-identical."""
    partial_reason: str | None = None
    """Why the series counts as complete although something is missing; said in every object made of it."""
    predecessors: tuple[PredecessorObject, ...] = ()
    """Earlier results over fewer, or since corrected, instances, which the new ones replace."""
    boxes: tuple[BoxPrompt, ...] = ()
    """Boxes that a person drew instead of the rule's prompt recipes; the n-th belongs to the n-th target."""

    study: tuple[InstanceHeader, ...] = ()
    """Other instances of the same study: annotation objects, and images that those may refer to."""

    earlier: tuple[InstanceHeader, ...] = ()
    """Instances of other studies of the same patient (`daemon.priors.same_patient`): segmentations, and the images behind them."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of these results: that they are partial, and that they replace others."""
        partial = () if self.partial_reason is None else ("PARTIAL",)
        return (*partial, "REPLACES EARLIER") if self.predecessors else partial

    def attributes_of(self, part: SliceStack | Refused) -> dict[str, str | tuple[str, ...]]:
        """What rules are matched against: the attributes of a part's first instance, how it was sent, and the facts."""
        network = {
            "calling_ae_title": self.calling_ae_title,
            "called_ae_title": self.called_ae_title,
            "source_address": self.source_address,
        }
        facts = {**header_facts(part.attributes), **annotation_facts(has_annotations=self.has_annotations), **_geometry_facts(part)}
        return {**part.attributes, **network, **facts}

    @cached_property
    def has_annotations(self) -> bool:
        """Whether an annotation of the study, where that is known, was drawn on the series."""
        return has_annotations(self.series, self.study)


def _geometry_facts(part: SliceStack | Refused) -> dict[str, str]:
    if isinstance(part, Refused):
        return {}
    affine, slices = part.affine, len(part.frames)
    step = slice_distance_mm(affine)
    sent = [k for k, frame in enumerate(part.frames) if frame is not None]
    return geometry_facts(
        Geometry(
            plane=plane_name(affine),
            slices=slices,
            slice_spacing_mm=step,
            largest_gap_mm=step * max((after - before for before, after in pairwise(sent)), default=1),
            coverage_mm=step * (slices - 1),
            tilt_degrees=tilt_degrees(affine),
        )
    )
