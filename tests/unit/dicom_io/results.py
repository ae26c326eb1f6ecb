"""What the tests say of a result: two segments and who made them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dicom_io.codes import CATEGORIES, LATERALITIES, Code
from dicom_io.segmentation import ResultIdentity, SegmentDescription
from dicom_io.uids import derive_uid

KIDNEY = SegmentDescription(
    number=1,
    label="Left kidney",
    category=CATEGORIES["AnatomicalStructure"],
    type=Code(value="64033007", scheme="SCT", meaning="Kidney"),
    laterality=LATERALITIES["left"],
    algorithm_type="AUTOMATIC",
    tracking_id="left-kidney",
    tracking_uid=derive_uid("2.25", "track", "left-kidney"),
    color_rgb=(200, 90, 60),
)
MASS = SegmentDescription(
    number=2,
    label="Mass",
    category=CATEGORIES["MorphologicallyAbnormalStructure"],
    type=Code(value="4147007", scheme="SCT", meaning="Mass"),
    region=Code(value="64033007", scheme="SCT", meaning="Kidney"),
    algorithm_type="SEMIAUTOMATIC",
    tracking_id="mass-1",
    tracking_uid=derive_uid("2.25", "track", "mass-1"),
)
IDENTITY = ResultIdentity(
    series_instance_uid=derive_uid("2.25", "series"),
    sop_instance_uid=derive_uid("2.25", "instance"),
    dimension_organization_uid=derive_uid("2.25", "dimensions"),
    series_number=9001,
    series_description="Kidney, AI, not for diagnosis",
    content_label="KIDNEY",
    content_description="Kidney and mass",
    content_creator_name="MEDSAM2D^AUTOMATIC",
    manufacturer="medsam2d",
    manufacturer_model_name="medsam2d",
    software_versions="0.1.0",
    device_serial_number="0001",
    algorithm_name="MedSAM2",
    algorithm_version="1",
    algorithm_uid=derive_uid("2.25", "algorithm"),
    algorithm_parameters={"weights": "ab" * 32, "rule": "kidney"},
    created=datetime(2024, 3, 1, 2, 30, 15, 250000, tzinfo=UTC),
)


def labelled(label: str) -> tuple[SegmentDescription, SegmentDescription]:
    """The two segments, the first under another label."""
    return replace(KIDNEY, label=label), MASS
