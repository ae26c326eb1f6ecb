"""Writing a report: a TID 1500 structured report (PS3.16) with what was found, measured, not found or refused.

Comprehensive SR, since more archives take it than the 3D one, and nothing here needs coordinates in space: segments lie
in the segmentation object, and the two RECIST lines on the image that they were taken on.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_io.codes import Code
from dicom_io.measurements import Line
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.report_numbers import ReportedNumber, reported_numbers
from dicom_io.report_types import OUTCOME_CODES, MeasuredSegment, ObjectReference, ReportContent, ReportedTarget
from dicom_io.result_header import TYPE_2_KEYWORDS, carry_source_attributes, instance_reference, set_character_set, texts_of
from dicom_io.segmentation_source import SourceHeaders
from dicom_io.segmentation_types import ResultIdentity

_Group: TypeAlias = hd.sr.MeasurementsAndQualitativeEvaluations | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations

AI_MARK = "AI result, not for diagnosis"


@without_pydicom_warnings()
def write_report(content: ReportContent, identity: ResultIdentity, headers: SourceHeaders) -> bytes:
    """Return the Part 10 bytes of a report; equal input gives equal bytes.

    Complete, preliminary and unverified: a person has not seen it. Raises ValueError for text that DICOM's value
    representations do not allow.
    """
    if not content.targets:
        raise ValueError("report: expected at least one target to report on, got none")
    dataset = hd.sr.ComprehensiveSR(
        evidence=_evidence(content, headers),
        content=_document(content, identity, headers),
        series_instance_uid=identity.series_instance_uid,
        series_number=identity.series_number,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        manufacturer=identity.manufacturer,
        is_complete=True,
        is_final=False,
        manufacturer_model_name=identity.manufacturer_model_name,
        software_versions=identity.software_versions,
        device_serial_number=identity.device_serial_number,
        series_description=identity.series_description,
    )
    carry_source_attributes(dataset, headers, identity)
    _comment(dataset, AI_MARK)
    if content.predecessors:
        dataset.PredecessorDocumentsSequence = [_hierarchy(str(headers.first.StudyInstanceUID), one) for one in content.predecessors]
    texts = (text for target in content.targets for text in (target.label, *target.reasons, target.type.meaning))
    set_character_set(dataset, headers, (*texts_of(identity), *texts))
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _document(content: ReportContent, identity: ResultIdentity, headers: SourceHeaders) -> Dataset:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=identity.algorithm_uid,
        name=identity.algorithm_name,
        manufacturer_name=identity.manufacturer,
        model_name=identity.manufacturer_model_name,
        serial_number=identity.device_serial_number,
    )
    observer = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[group for target in content.targets for group in _groups(target, content, identity, headers)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return report[0]


def _groups(target: ReportedTarget, content: ReportContent, identity: ResultIdentity, headers: SourceHeaders) -> Iterator[_Group]:
    """The target's group and, for a segment, one with its diameters: coordinates may not stand in the group of a segment (TID 1411)."""
    name, value = OUTCOME_CODES[target.outcome]
    site = None if target.region is None and target.laterality is None else [_site(target)]
    common: dict[str, Any] = {
        "tracking_identifier": hd.sr.TrackingIdentifier(uid=target.tracking_uid, identifier=target.label),
        "finding_category": _coded(target.category),
        "finding_type": _coded(target.type),
        "finding_sites": site,
        "algorithm_id": _algorithm(identity),
        "qualitative_evaluations": [hd.sr.QualitativeEvaluation(name=_coded(name), value=_coded(value))],
    }
    numbers = [] if target.measured is None else list(reported_numbers(target.measured.measurements, content.unit, content.modality))
    if target.measured is None:
        group: _Group = hd.sr.MeasurementsAndQualitativeEvaluations(**common)
    else:
        group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=_referenced_segment(target.measured, headers),
            measurements=[_measurement(number, headers) for number in numbers if number.line is None],
            **common,
        )
    for reason in target.reasons:
        _comment(group[0], reason)
    yield group
    if numbers:
        diameters = [_measurement(number, headers) for number in numbers if number.line is not None]
        yield hd.sr.MeasurementsAndQualitativeEvaluations(measurements=diameters, **common)


def _site(target: ReportedTarget) -> hd.sr.FindingSite:
    laterality = None if target.laterality is None else _coded(target.laterality)
    return hd.sr.FindingSite(anatomic_location=_coded(target.region or target.type), laterality=laterality)


def _algorithm(identity: ResultIdentity) -> hd.sr.AlgorithmIdentification:
    return hd.sr.AlgorithmIdentification(
        name=identity.algorithm_name,
        version=identity.algorithm_version,
        parameters=[f"{name}={value}" for name, value in identity.algorithm_parameters.items()],
    )


def _referenced_segment(measured: MeasuredSegment, headers: SourceHeaders) -> hd.sr.ReferencedSegment:
    return hd.sr.ReferencedSegment(
        sop_class_uid=measured.segmentation.sop_class_uid,
        sop_instance_uid=measured.segmentation.sop_instance_uid,
        segment_number=measured.segment.number,
        source_series=hd.sr.SourceSeriesForSegmentation(str(headers.first.SeriesInstanceUID)),
    )


def _measurement(number: ReportedNumber, headers: SourceHeaders) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=_coded(number.name),
        value=number.value,
        unit=_coded(number.unit),
        derivation=None if number.derivation is None else _coded(number.derivation),
        referenced_coordinates=None if number.line is None else _coordinates(number.line, headers),
    )


def _coordinates(line: Line, headers: SourceHeaders) -> list[hd.sr.CoordinatesForMeasurement] | None:
    """The line on its image; 0.0 is the outer corner of the first pixel there, not its centre (PS3.3 C.18.6.1.2)."""
    plane = headers.planes.get(line.k)
    if plane is None:
        return None  # a slice that was interpolated: there is no image to draw on
    image = hd.sr.SourceImageForRegion(
        referenced_sop_class_uid=plane.sop_class_uid,
        referenced_sop_instance_uid=plane.sop_instance_uid,
        referenced_frame_numbers=None if plane.frame_number is None else [plane.frame_number],
    )
    data = np.array([[i + 0.5, j + 0.5] for j, i in line.ends_ji], np.float64)
    return [hd.sr.CoordinatesForMeasurement(graphic_type="POLYLINE", graphic_data=data, source_image=image)]


def _comment(container: Dataset, text: str) -> None:
    item = hd.sr.TextContentItem(name=codes.DCM.Comment, value=text, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS)
    container.ContentSequence.append(item)


def _coded(code: Code) -> DicomCode:
    return DicomCode(code.value, code.scheme, code.meaning)


def _evidence(content: ReportContent, headers: SourceHeaders) -> list[Dataset]:
    """One stand-in for each object that the report is made of; patient and study come from the real header afterwards."""
    source = str(headers.first.SeriesInstanceUID)
    images = [_stand_in(headers, (sop_class, instance, source)) for sop_class, instance in headers.instances]
    segmentations = dict.fromkeys(target.measured.segmentation for target in content.targets if target.measured is not None)
    return [
        *images,
        *(_stand_in(headers, (one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid)) for one in segmentations),
    ]


def _stand_in(headers: SourceHeaders, reference: Sequence[str]) -> Dataset:
    evidence = Dataset()
    evidence.SOPClassUID, evidence.SOPInstanceUID, evidence.SeriesInstanceUID = reference
    evidence.StudyInstanceUID = str(headers.first.StudyInstanceUID)
    for keyword in TYPE_2_KEYWORDS:
        setattr(evidence, keyword, "")
    return evidence


def _hierarchy(study_instance_uid: str, reference: ObjectReference) -> Dataset:
    """A reference by study and series (PS3.3 table C.17-3)."""
    series = Dataset()
    series.SeriesInstanceUID = reference.series_instance_uid
    series.ReferencedSOPSequence = [instance_reference(reference.sop_class_uid, reference.sop_instance_uid)]
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = [series]
    return study
