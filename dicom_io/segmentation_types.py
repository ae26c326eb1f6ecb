"""What a result says of itself: its segments, and who made it, when, and with which algorithm."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RE_VALID_UID, SegmentationStorage

from dicom_io.codes import Code

LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage (Supplement 243); pydicom has no name for it yet."""
MAXIMUM_LABEL_LENGTH = 64
"""Segment Label is a Long String (PS3.5 section 6.2)."""


Masks: TypeAlias = NDArray[np.bool_] | Sequence[NDArray[np.bool_]]
"""Masks in the order of their segments, each (k, j, i) bool: one array (segment, k, j, i), or a list, which needs no copy."""


class SegmentationForm(enum.StrEnum):
    """How the pixels are stored (Segmentation Type, PS3.3 C.8.20.2.3), which also decides the SOP class."""

    BINARY = "binary"
    """One bit a voxel and segment, native: what every viewer in use today can place."""
    LABELMAP = "labelmap"
    """One number a voxel, run-length encoded: far smaller, but only newer systems accept it, and segments cannot overlap."""

    @property
    def sop_class_uid(self) -> str:
        """The storage SOP class that objects of this form have."""
        return LABEL_MAP_SEGMENTATION_STORAGE if self is SegmentationForm.LABELMAP else str(SegmentationStorage)


@dataclass(frozen=True, kw_only=True)
class SegmentDescription:
    """One item of the Segment Sequence (PS3.3 C.8.20.4)."""

    number: int
    """Segment Number, from 1 without gaps within one object."""
    label: str
    category: Code
    """A concept of CID 7150."""
    type: Code
    """A concept of CID 7151."""
    laterality: Code | None = None
    """A concept of CID 244."""
    region: Code | None = None
    """Anatomic Region, for findings whose type does not say where they are."""
    algorithm_type: Literal["AUTOMATIC", "SEMIAUTOMATIC"]
    """SEMIAUTOMATIC if a person's annotation was the prompt."""
    tracking_id: str
    tracking_uid: str
    color_rgb: tuple[int, int, int] | None = None
    """Red, green, blue of 0 to 255; written as CIELab."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in it that a person wrote, in any language."""
        coded = (code.meaning for code in (self.category, self.type, self.laterality, self.region) if code)
        return (self.label, self.tracking_id, *coded)

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 65535:
            raise ValueError(f"segment number: expected 1 to 65535, got {self.number}")
        if not 1 <= len(self.label) <= MAXIMUM_LABEL_LENGTH or "\\" in self.label:
            raise ValueError(f"segment label: expected 1 to {MAXIMUM_LABEL_LENGTH} characters without a backslash, got {self.label!r}")
        if self.algorithm_type not in ("AUTOMATIC", "SEMIAUTOMATIC"):
            raise ValueError(f"algorithm type: expected AUTOMATIC or SEMIAUTOMATIC, got {self.algorithm_type!r}")
        if not self.tracking_id or not re.fullmatch(RE_VALID_UID, self.tracking_uid) or len(self.tracking_uid) > 64:
            raise ValueError(f"tracking: expected an identifier and a valid UID, got {self.tracking_id!r}, {self.tracking_uid!r}")
        if self.color_rgb is not None and not all(0 <= part <= 255 for part in self.color_rgb):
            raise ValueError(f"segment colour: expected three numbers of 0 to 255, got {self.color_rgb}")


@dataclass(frozen=True, kw_only=True)
class ResultIdentity:
    """The attributes that tell one result from another; nothing else in a result depends on clock or chance."""

    series_instance_uid: str
    sop_instance_uid: str
    dimension_organization_uid: str
    series_number: int
    series_description: str
    """Should say that the result is made by AI and not for diagnosis; at most 64 characters."""
    content_label: str
    """Code String: at most 16 of A-Z, 0-9, space and underscore."""
    content_description: str
    content_creator_name: str
    """Person Name form, as `MEDSAM2D^AUTOMATIC`."""
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    algorithm_name: str
    algorithm_version: str
    algorithm_uid: str
    """Device UID of the algorithm: one for each version with its weights, as IHE's AI Results asks for."""
    algorithm_parameters: Mapping[str, str]
    """For example the SHA-256 of the weights and of the rule."""
    created: datetime
    """Aware; written in the source's time zone where the source states one."""
