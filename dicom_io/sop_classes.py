"""Which instances can be slices of a volume: SOP classes of cross-sectional images, and images that are none of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import uid

from dicom_io.errors import NoPixels, NotAVolume
from dicom_io.frame_attributes import whole_number
from dicom_io.instance import InstanceHeader

VOLUME_SOP_CLASSES = frozenset(
    map(
        str,
        (
            uid.CTImageStorage,
            uid.EnhancedCTImageStorage,
            uid.LegacyConvertedEnhancedCTImageStorage,
            uid.MRImageStorage,
            uid.EnhancedMRImageStorage,
            uid.LegacyConvertedEnhancedMRImageStorage,
            uid.PositronEmissionTomographyImageStorage,
            uid.EnhancedPETImageStorage,
            uid.LegacyConvertedEnhancedPETImageStorage,
            uid.XRay3DAngiographicImageStorage,
            uid.XRay3DCraniofacialImageStorage,
        ),
    )
)
"""Storage SOP classes whose images are slices with a place in the patient (PS3.4 B.5)."""


def expect_volume_images(instances: Sequence[InstanceHeader]) -> None:
    """Raise unless every instance is a grey cross-sectional image that is no localizer.

    NoPixels: reports, plans, contours. NotAVolume: other images, secondary captures, segmentations, localizers, colour.
    """
    for number, header in enumerate(instances, start=1):
        name = uid.UID(header.sop_class_uid).name
        which = f"instance {header.sop_instance_uid} ({number} of {len(instances)})"
        if not whole_number(header.dataset, "Rows") or not whole_number(header.dataset, "Columns"):
            raise NoPixels(f"{which} is a {name} without an image; expected CT, MR or PET images; send the images themselves")
        if header.sop_class_uid not in VOLUME_SOP_CLASSES:
            raise NotAVolume(f"{which} is a {name}, not a slice; expected CT, MR or PET images; send the original series")
        if whole_number(header.dataset, "SamplesPerPixel", 1) != 1:
            raise NotAVolume(f"{which} is in colour; expected one grey value a pixel; send the original series, not a rendering of it")
    _expect_no_localizer(instances)


def _expect_no_localizer(instances: Sequence[InstanceHeader]) -> None:
    """Value 3 of Image Type tells a localizer (PS3.3 C.8.2.1.1.1 and C.8.3.1.1.1)."""
    localizers = [header for header in instances if "LOCALIZER" in _image_type(header)]
    if localizers:
        raise NotAVolume(
            f"{len(localizers)} of {len(instances)} instances are localizers (scouts), the first is {localizers[0].sop_instance_uid}; "
            "expected slices only; send the slices as a series of their own"
        )


def _image_type(header: InstanceHeader) -> tuple[str, ...]:
    value = header.dataset.get("ImageType")
    return (value,) if isinstance(value, str) else tuple(value or ())
