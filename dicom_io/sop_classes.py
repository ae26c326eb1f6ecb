"""Which instances can be slices of a volume, which are cine or single pictures, and which are neither."""

from __future__ import annotations

from pydicom import uid

from dicom_io.errors import NoPixels, NotAVolume, RejectedInput
from dicom_io.frame_attributes import values_of, whole_number
from dicom_io.instance import InstanceHeader
from dicom_io.slice_stack import label
from dicom_io.values import text_of

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

PICTURE_SOP_CLASSES = frozenset(
    map(
        str,
        (
            uid.UltrasoundImageStorage,
            uid.UltrasoundMultiFrameImageStorage,
            "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image Storage (Retired)
            "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame Image Storage (Retired)
            uid.XRayAngiographicImageStorage,
            uid.EnhancedXAImageStorage,
            uid.XRayRadiofluoroscopicImageStorage,
            uid.EnhancedXRFImageStorage,
            uid.ComputedRadiographyImageStorage,
            uid.DigitalXRayImageStorageForPresentation,
            uid.DigitalXRayImageStorageForProcessing,
            uid.DigitalMammographyXRayImageStorageForPresentation,
            uid.DigitalMammographyXRayImageStorageForProcessing,
            uid.DigitalIntraOralXRayImageStorageForPresentation,
            uid.DigitalIntraOralXRayImageStorageForProcessing,
            uid.VLEndoscopicImageStorage,
            uid.VideoEndoscopicImageStorage,
            uid.VLMicroscopicImageStorage,
            uid.VLPhotographicImageStorage,
            uid.OphthalmicPhotography8BitImageStorage,
            uid.OphthalmicPhotography16BitImageStorage,
        ),
    )
)
"""Storage SOP classes of pictures and cine without a place in the patient: read as a FrameStack."""

NOT_SLICES = {
    "LOCALIZER": "a localizer (scout)",
    "SCOUT": "a localizer (scout)",
    "TOPOGRAM": "a localizer (scout)",
    "SCREEN SAVE": "a screen shot",
    "SCREENSHOT": "a screen shot",
    "SECONDARY CAPTURE": "a screen shot",
    "DOSE_INFO": "a dose report",
    "PATIENT_PROTOCOL": "a protocol page",
    "CSA REPORT": "a report page",
    "REPORT": "a report page",
    "CSAPARALLEL": "a parameter page",
    "MOSAIC": "a mosaic of many slices in one picture",
}
"""Values of Image Type with which scanners mark pictures that they store as CT, MR or PET images and that are no slices.
LOCALIZER is the standard's own (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1); the others are makers' words. A mosaic's position and
spacing are those of the picture, not of its tiles."""

_COLOURED = frozenset({"COLOR", "MIXED", "TRUE_COLOR"})
"""Pixel Presentation of maps in false colours (PS3.3 C.8.16.2.1.2.2)."""


def is_picture(header: InstanceHeader) -> bool:
    """Return whether an instance is a cine or a single picture, to be read as a FrameStack."""
    return header.sop_class_uid in PICTURE_SOP_CLASSES and has_matrix(header)


def has_matrix(header: InstanceHeader) -> bool:
    """Return whether an instance states rows and columns, as every image does."""
    return whole_number(header.dataset, "Rows") > 0 and whole_number(header.dataset, "Columns") > 0


def why_no_slice(header: InstanceHeader) -> RejectedInput | None:
    """Return why an instance can be no slice of a volume, or None if it can.

    NoPixels: reports, plans, contours. NotAVolume: other images, secondary captures, segmentations, localizers, screen
    shots, colour.
    """
    name, which = _class_name(header.sop_class_uid), label(header)
    if not has_matrix(header):
        return NoPixels(
            f"instance {header.sop_instance_uid} ({name}) holds no image; expected CT, MR or PET images; send the images themselves"
        )
    if header.sop_class_uid not in VOLUME_SOP_CLASSES:
        return NotAVolume(f"{which} is no slice ({name}); expected CT, MR or PET images; send the original series")
    what = _by_image_type(header)
    if what is not None:
        return NotAVolume(f"{which} is {what}, not a slice; expected slices only; nothing is lost without it")
    if _is_coloured(header):
        return NotAVolume(
            f"{which} is in colour; expected one grey value a pixel; send the original series, not a map or a rendering of it"
        )
    return None


def _class_name(sop_class_uid: str) -> str:
    name = uid.UID(sop_class_uid).name
    return f"SOP class {name}" if name == sop_class_uid else name


def _by_image_type(header: InstanceHeader) -> str | None:
    for value in values_of(header.dataset, "ImageType"):
        what = NOT_SLICES.get(str(value).upper())
        if what is not None:
            return what
    return None


def _is_coloured(header: InstanceHeader) -> bool:
    if whole_number(header.dataset, "SamplesPerPixel", 1) != 1:
        return True
    photometric = text_of(header.dataset, "PhotometricInterpretation")
    return photometric == "PALETTE COLOR" or text_of(header.dataset, "PixelPresentation") in _COLOURED
