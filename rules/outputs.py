"""Outputs: which objects a rule's results are written as."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rules.scalars import Section

OutputKind = Literal["seg", "sr", "overlay"]


class Outputs(Section):
    """What is written of a result. Editing it recomputes nothing: it holds for series that come later."""

    objects: Annotated[tuple[OutputKind, ...], Field(min_length=1)] = ("seg", "sr")
    """seg: the segmentation. sr: a report with measures, and with what was not found or withheld, which a segmentation cannot
    say. overlay: a picture (secondary capture) for systems that cannot show segmentations."""
    segmentation_type: Literal["binary", "labelmap"] = "binary"
    """binary: every viewer in use can show it. labelmap: far smaller; a destination that refuses it gets the binary form."""
    one_seg_per: Literal["series", "target"] = "series"
    """Whether the targets share one segmentation object, as long as they fit into the viewer's budget, or get one each."""

    @model_validator(mode="after")
    def _complete(self) -> Outputs:
        if len(set(self.objects)) != len(self.objects):
            raise ValueError(f"expected each object once, got {', '.join(self.objects)}")
        if "sr" in self.objects and "seg" not in self.objects:
            raise ValueError(f"expected seg beside sr, got {', '.join(self.objects)}; a report refers to the segments that it measures")
        return self
