"""The header of a segmentation object: what is carried from the source images, word for word, and what is made anew.

highdicom builds the header from one stand-in image, which holds geometry and nothing else. So a source that lacks
attributes or holds odd ones cannot stop it, a multi-frame source is treated like any other, and patient and study come
from the real header exactly as they stand there.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DA, DT, TM

from dicom_io.segmentation_source import SourceHeaders
from dicom_io.segmentation_types import ResultIdentity
from dicom_io.volume import Volume

TYPE_2_KEYWORDS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip
"""Present in every object, empty where the source has none: an invented value could be taken for a true one."""

CARRIED_KEYWORDS = (
    "TimezoneOffsetFromUTC", "BodyPartExamined", "PatientIdentityRemoved", "LongitudinalTemporalInformationModified",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence",
)  # fmt: skip
"""Attributes beside those of the patient and study modules that hold for a result as they do for its source."""

EQUIPMENT_KEYWORDS = (
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName", "InstitutionName",
    "InstitutionAddress", "InstitutionalDepartmentName",
)  # fmt: skip

DEIDENTIFICATION_KEYWORDS = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")

LOSSY_KEYWORDS = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")

_STAND_IN_UID = "2.25.1"
_STAND_IN_FRAME_OF_REFERENCE = "2.25.0"


def stand_in(headers: SourceHeaders, volume: Volume) -> Dataset:
    """Return a single-frame image with the place of the first slice and no more."""
    normal = headers.first_plane.geometry.normal
    between_mm = abs(float(np.dot(volume.affine[:3, 0], normal)))
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _STAND_IN_UID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality"):
        setattr(image, keyword, headers.first[keyword].value)
    for keyword in TYPE_2_KEYWORDS:
        setattr(image, keyword, "")
    image.FrameOfReferenceUID = volume.frame_of_reference_uid or _STAND_IN_FRAME_OF_REFERENCE
    image.Rows, image.Columns = volume.voxels.shape[1:]
    geometry = headers.first_plane.geometry
    image.ImagePositionPatient = list(geometry.position_mm)
    image.ImageOrientationPatient = [*geometry.row_cosines, *geometry.column_cosines]
    image.PixelSpacing = [geometry.row_spacing_mm, geometry.column_spacing_mm]
    image.SpacingBetweenSlices = between_mm
    # dcmqi and 3D Slicer refuse an object without thickness; contiguous slices are the plain assumption.
    image.SliceThickness = headers.first_plane.slice_thickness_mm or between_mm
    return image


def refer_to_sources(dataset: Dataset, headers: SourceHeaders) -> None:
    """List every source instance in the place of the stand-in."""
    instances = source_references(headers)
    dataset.SourceImageSequence = instances
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances


def source_references(headers: SourceHeaders) -> list[Dataset]:
    """Return a reference to each source instance, in the order of the slices."""
    classes = {plane.sop_instance_uid: plane.sop_class_uid for plane in headers.planes.values()}
    return [_instance(sop_class_uid, sop_instance_uid) for sop_instance_uid, sop_class_uid in classes.items()]


def carry_source_attributes(dataset: Dataset, headers: SourceHeaders, identity: ResultIdentity) -> None:
    """Copy patient, study and what else holds for the result; set what would else depend on clock or chance."""
    source = headers.first
    dataset.copy_patient_and_study_information(_as_known_class(source))
    for keyword in CARRIED_KEYWORDS:
        if keyword in source:
            dataset.add(source[keyword])
    if dataset.get("PatientIdentityRemoved") == "YES" and not any(dataset.get(keyword) for keyword in DEIDENTIFICATION_KEYWORDS):
        # One of them is required then (PS3.3 C.7.1.1, Type 1C); a source that leaves both out must not make a result invalid.
        dataset.DeidentificationMethod = "Not stated by the source"
    dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""
    if dataset.FrameOfReferenceUID == _STAND_IN_FRAME_OF_REFERENCE:
        # Without one in the source, the frames hold pixel for pixel by their derivation references (PS3.3 A.51.5.1).
        del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    if headers.lossy is not None:
        dataset.LossyImageCompression = "01"
        for keyword in LOSSY_KEYWORDS:
            if keyword in headers.lossy:
                dataset.add(headers.lossy[keyword])
    created = creation_time(source, identity.created)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = DA(created.date()), TM(created.time())
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = identity.dimension_organization_uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = identity.dimension_organization_uid
    library = dataset.ContributingEquipmentSequence[-1]
    library.ContributionDateTime = DT(created)
    dataset.ContributingEquipmentSequence = [*_acquisition(source), _algorithm(identity, created), library]


def creation_time(source: Dataset, created: datetime) -> datetime:
    """Return `created` as the source's clock shows it: a stated offset holds for all times in an object (PS3.3 C.12.1.1.8)."""
    match = re.fullmatch(r"([+-])(\d\d)(\d\d)", str(source.get("TimezoneOffsetFromUTC") or "").strip())
    if match is None or created.tzinfo is None:
        return created
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return created.astimezone(timezone(-offset if match[1] == "-" else offset))


def _instance(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _as_known_class(source: Dataset) -> Dataset:
    """The header under a SOP Class that highdicom knows: patient and study modules are the same for all images."""
    image = Dataset()
    image.update(source)
    image.SOPClassUID = CTImageStorage
    return image


def _acquisition(source: Dataset) -> list[Dataset]:
    """The scanner as contributing equipment (PS3.3 C.12.1), where the source names its maker."""
    if not source.get("Manufacturer"):
        return []
    item = Dataset()
    for keyword in EQUIPMENT_KEYWORDS:
        if source.get(keyword):
            item.add(source[keyword])
    item.ContributionDescription = "Acquisition equipment of the source images"
    item.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(codes.DCM.AcquisitionEquipment)]
    return [item]


def _algorithm(identity: ResultIdentity, created: datetime) -> Dataset:
    item = hd.ContributingEquipment(
        manufacturer=identity.manufacturer,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=identity.manufacturer_model_name,
        software_versions=identity.software_versions,
        device_serial_number=identity.device_serial_number,
        contribution_datetime=created,
        contribution_description=f"AI algorithm {identity.algorithm_name} {identity.algorithm_version}",
    )
    item.DeviceUID = identity.algorithm_uid
    return item
