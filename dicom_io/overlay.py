"""A secondary capture with the overlay picture, for destinations that cannot show segmentations: written, read back and compared."""

from __future__ import annotations

import io

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dicom_io.errors import InvalidOverlay
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.result_header import carry_source_attributes, set_character_set, source_references, texts_of
from dicom_io.segmentation_check import carried_faults
from dicom_io.segmentation_source import SourceHeaders
from dicom_io.segmentation_types import ResultIdentity


@without_pydicom_warnings()
def write_overlay(picture: NDArray[np.uint8], identity: ResultIdentity, headers: SourceHeaders) -> bytes:
    """Return the Part 10 bytes of a Secondary Capture Image (PS3.3 A.8.1); equal input gives equal bytes.

    `picture`: (row, column, 3) uint8, RGB. It says for itself that it is no image for diagnosis, and nothing in it says who
    the patient is.
    """
    source = headers.first
    dataset = hd.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=str(source.StudyInstanceUID),
        series_instance_uid=identity.series_instance_uid,
        series_number=identity.series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        manufacturer=identity.manufacturer,
        patient_orientation=("L", "P"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    carry_source_attributes(dataset, headers, identity)
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.ContentDate, dataset.ContentTime
    dataset.PatientOrientation = []  # panels are pictures, not planes; Type 2C, empty where it cannot be told
    dataset.Modality, dataset.ConversionType = "OT", "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = identity.content_description
    dataset.SeriesDescription = identity.series_description
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00" if headers.lossy is None else "01"
    dataset.SourceImageSequence = source_references(headers)
    dataset.ManufacturerModelName, dataset.SoftwareVersions = identity.manufacturer_model_name, identity.software_versions
    dataset.DeviceSerialNumber = identity.device_serial_number
    set_character_set(dataset, headers, texts_of(identity))
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@without_pydicom_warnings()
def check_overlay(part10: bytes, picture: NDArray[np.uint8], headers: SourceHeaders) -> None:
    """Raise InvalidOverlay with every fault of the object: patient, study, pixels and references are what was meant."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(part10))
        kind = (str(dataset.SOPClassUID), dataset.PhotometricInterpretation)
        shown = dataset.pixel_array
        referenced = {str(item.ReferencedSOPInstanceUID) for item in dataset.SourceImageSequence}
    except (InvalidDicomError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidOverlay(f"overlay: expected a complete Part 10 secondary capture, got one that lacks {error}") from error
    faults = list(carried_faults(dataset, headers))
    if kind != (str(SecondaryCaptureImageStorage), "RGB"):
        faults.append(f"kind: expected a secondary capture in RGB, got {kind}")
    if not np.array_equal(shown, picture):
        faults.append(f"pixels: expected those that were drawn, {picture.shape}, got others, {shown.shape}")
    if referenced != {instance for _, instance in headers.instances}:
        faults.append(f"SourceImageSequence: expected {len(headers.instances)} instances, got {len(referenced)}")
    if faults:
        raise InvalidOverlay(f"overlay: {len(faults)} faults, it must not be sent: {'; '.join(faults)}")
