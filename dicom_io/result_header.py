"""What every result carries from its source, word for word, and what it says of its maker: the same for SEG, SR and secondary capture."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import highdicom as hd
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DA, DT, TM

from dicom_io.segmentation_source import SourceHeaders
from dicom_io.segmentation_types import ResultIdentity

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
    created = creation_time(source, identity.created)
    for what in ("Series", "Content", "InstanceCreation"):
        setattr(dataset, f"{what}Date", DA(created.date()))
        setattr(dataset, f"{what}Time", TM(created.time()))
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


def source_references(headers: SourceHeaders) -> list[Dataset]:
    """Return a reference to each source instance, in the order of the slices."""
    return [instance_reference(sop_class_uid, sop_instance_uid) for sop_class_uid, sop_instance_uid in headers.instances]


def instance_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that names an instance (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def set_character_set(dataset: Dataset, headers: SourceHeaders, texts: tuple[str, ...]) -> None:
    """Use the source's own character set where `texts` fit into every one of them, UTF-8 else (PS3.3 C.12.1.1.2)."""
    own = headers.first.get("SpecificCharacterSet")
    if all(text.isascii() for text in texts):
        if own:
            dataset.SpecificCharacterSet = own
    elif isinstance(own, str) and own and all(_fits(text, own) for text in texts):
        dataset.SpecificCharacterSet = own
    else:
        dataset.SpecificCharacterSet = "ISO_IR 192"


def texts_of(identity: ResultIdentity) -> tuple[str, ...]:
    """Return what an identity brings into the text of an object."""
    named = (identity.manufacturer, identity.manufacturer_model_name, identity.algorithm_name, *identity.algorithm_parameters.values())
    return (identity.series_description, identity.content_description, identity.content_creator_name, *named)


def _fits(text: str, character_set: str) -> bool:
    try:
        text.encode(convert_encodings(character_set)[0])
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
    """The algorithm, in the manner of IHE's AI Results: maker, model, version and a Device UID that is the version's own."""
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
