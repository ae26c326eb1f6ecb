"""Coded concepts: the triplets that give segments a meaning that other systems share (PS3.3 section 8.8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept: value, scheme designator (SCT, DCM, UCUM or a private 99...) and meaning (at most 64 characters)."""

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        for name, text, limit in (("value", self.value, 16), ("scheme", self.scheme, 16), ("meaning", self.meaning, 64)):
            if not text or len(text) > limit:
                raise ValueError(f"code {name}: expected 1 to {limit} characters, got {text!r}")

    def __str__(self) -> str:
        return f"({self.value}, {self.scheme}, {self.meaning!r})"


# CID 7150, Segmentation Property Category: the only categories that viewers group by.
CATEGORIES: dict[str, Code] = {
    "AnatomicalStructure": Code(value="91723000", scheme="SCT", meaning="Anatomical Structure"),
    "MorphologicallyAbnormalStructure": Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure"),
    "Tissue": Code(value="85756007", scheme="SCT", meaning="Tissue"),
    "BodySubstance": Code(value="91720002", scheme="SCT", meaning="Body Substance"),
    "PhysicalObject": Code(value="260787004", scheme="SCT", meaning="Physical object"),
    "Substance": Code(value="105590001", scheme="SCT", meaning="Substance"),
    "Function": Code(value="246464006", scheme="SCT", meaning="Function"),
    "SpatialAndRelationalConcept": Code(value="309825002", scheme="SCT", meaning="Spatial and Relational Concept"),
}

# CID 244, Laterality.
LATERALITIES: dict[str, Code] = {
    "right": Code(value="24028007", scheme="SCT", meaning="Right"),
    "left": Code(value="7771000", scheme="SCT", meaning="Left"),
    "bilateral": Code(value="51440002", scheme="SCT", meaning="Bilateral"),
    "unilateral": Code(value="66459002", scheme="SCT", meaning="Unilateral"),
}
