"""Annotation objects as other systems write them, made attribute by attribute and round-tripped through files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
)

from dicom_io.geometry import Float64
from dicom_io.instance import InstanceHeader, read_header
from tests.unit.dicom_io.ct_files import FRAME_OF_REFERENCE_UID, SERIES_UID, SLICES, STUDY_UID

LESION = ("52988006", "SCT", "Lesion")
LIVER = ("10200004", "SCT", "Liver")
TRACKING_UID = "1.2.826.0.1.3680043.8.498.77.1"
OBJECT_UID = "1.2.826.0.1.3680043.8.498.70"


def image_uid(k: int) -> str:
    """The SOP Instance UID of slice k of `ct_files.write_volume`."""
    return f"{SERIES_UID}.{SLICES - k}"


def to_mm(affine: Float64, k: float, xy: Sequence[tuple[float, float]]) -> Float64:
    """Pixel indices (x, y) on slice k, centre = integer, as LPS millimetres (n, 3): arithmetic of the tests' own."""
    return np.array([affine[:3, 3] + k * affine[:3, 0] + y * affine[:3, 1] + x * affine[:3, 2] for x, y in xy])


def to_corner(xy: Sequence[tuple[float, float]]) -> list[float]:
    """Pixel indices as image coordinates of SR and GSPS: the centre of the first pixel is (0.5, 0.5)."""
    return [value + 0.5 for point in xy for value in point]


def save(dataset: Dataset, path: Path, sop_class: str, syntax: str = ExplicitVRLittleEndian) -> InstanceHeader:
    """Write an object of the study and read its header back."""
    dataset.SOPClassUID, dataset.StudyInstanceUID = sop_class, STUDY_UID
    if "SOPInstanceUID" not in dataset:
        dataset.SOPInstanceUID = OBJECT_UID
    dataset.SeriesInstanceUID = f"{dataset.SOPInstanceUID}.1"
    dataset.PatientID, dataset.PatientName = "PHANTOM-7", "Nobody"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(path, enforce_file_format=True)
    return read_header(path)


def item(**values: object) -> Dataset:
    """A data set with these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def coded(triplet: tuple[str, str, str]) -> Dataset:
    """A code sequence item."""
    return item(CodeValue=triplet[0], CodingSchemeDesignator=triplet[1], CodeMeaning=triplet[2])


def reference(uid: str, frame: int | None = None) -> Dataset:
    """An image reference."""
    found = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=uid)
    if frame is not None:
        found.ReferencedFrameNumber = frame
    return found


# RT Structure Set


def structure_set(
    path: Path,
    regions: Sequence[Sequence[tuple[str, Float64]]],
    *,
    image: str | None = None,
    frame_of_reference: str = FRAME_OF_REFERENCE_UID,
    series: str | None = None,
) -> InstanceHeader:
    """Regions 1..n, each a list of (geometric type, points in mm); `image` is what every contour refers to."""
    dataset = Dataset()
    dataset.Modality = "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, contours in enumerate(regions, start=1):
        region = item(ROINumber=number, ROIName=f"Region {number}", ReferencedFrameOfReferenceUID=frame_of_reference)
        region.ROIGenerationAlgorithm = "MANUAL"
        dataset.StructureSetROISequence.append(region)
        drawn = item(ReferencedROINumber=number, ContourSequence=[])
        for kind, points in contours:
            contour = item(ContourGeometricType=kind, NumberOfContourPoints=len(points))
            contour.ContourData = [f"{value:.4f}" for value in points.ravel()]
            if image is not None:
                contour.ContourImageSequence = [reference(image)]
            drawn.ContourSequence.append(contour)
        dataset.ROIContourSequence.append(drawn)
        observed = item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="GTV")
        observed.RTROIIdentificationCodeSequence = [coded(LESION)]
        dataset.RTROIObservationsSequence.append(observed)
    if series is not None:
        study = item(ReferencedSOPInstanceUID=STUDY_UID, RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])
        dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame_of_reference, RTReferencedStudySequence=[study])]
    return save(dataset, path, RTStructureSetStorage, ImplicitVRLittleEndian)


# Structured reports


def content(
    value_type: str, concept: tuple[str, str, str] | None, *children: Dataset, relation: str = "CONTAINS", **values: object
) -> Dataset:
    """A content item."""
    found = item(RelationshipType=relation, ValueType=value_type, **values)
    if concept is not None:
        found.ConceptNameCodeSequence = [coded(concept)]
    if children:
        found.ContentSequence = list(children)
    return found


def on_image(k: int, frame: int | None = None, uid: str | None = None) -> Dataset:
    """The image that coordinates were selected from."""
    return content("IMAGE", None, relation="SELECTED FROM", ReferencedSOPSequence=[reference(uid or image_uid(k), frame)])


def scoord(graphic: str, data: Sequence[float], *children: Dataset, concept: tuple[str, str, str] | None = None) -> Dataset:
    """Coordinates in an image."""
    relation = "INFERRED FROM" if concept is None else "CONTAINS"
    return content("SCOORD", concept, *children, relation=relation, GraphicType=graphic, GraphicData=list(data))


def scoord3d(graphic: str, points: Float64, concept: tuple[str, str, str] | None = None) -> Dataset:
    """Coordinates in the patient."""
    data = [float(value) for value in points.ravel()]
    return content("SCOORD3D", concept, ReferencedFrameOfReferenceUID=FRAME_OF_REFERENCE_UID, GraphicType=graphic, GraphicData=data)


def measured(concept: tuple[str, str, str], *children: Dataset) -> Dataset:
    """A measurement."""
    units = coded(("mm", "UCUM", "millimeter"))
    value = item(NumericValue="12", MeasurementUnitsCodeSequence=[units])
    return content("NUM", concept, *children, MeasuredValueSequence=[value])


def group(*children: Dataset) -> Dataset:
    """A measurement group that is tracked, with a finding and its site."""
    head = (
        content("TEXT", ("112039", "DCM", "Tracking Identifier"), relation="HAS OBS CONTEXT", TextValue="Target 1"),
        content("UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), relation="HAS OBS CONTEXT", UID=TRACKING_UID),
        content("CODE", ("121071", "DCM", "Finding"), ConceptCodeSequence=[coded(LESION)]),
        content("CODE", ("363698007", "SCT", "Finding Site"), relation="HAS CONCEPT MOD", ConceptCodeSequence=[coded(LIVER)]),
    )
    return content("CONTAINER", ("125007", "DCM", "Measurement Group"), *head, *children, ContinuityOfContent="SEPARATE")


def report(path: Path, *children: Dataset, sop_class: str = Comprehensive3DSRStorage, uid: str = OBJECT_UID) -> InstanceHeader:
    """A report whose root holds `children`."""
    dataset = item(SOPInstanceUID=uid)
    dataset.Modality, dataset.ValueType, dataset.ContinuityOfContent = "SR", "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [coded(("126000", "DCM", "Imaging Measurement Report"))]
    observer = content("PNAME", ("121008", "DCM", "Person Observer Name"), relation="HAS OBS CONTEXT", PersonName="Reader^One")
    dataset.ContentSequence = [observer, *children]
    return save(dataset, path, sop_class)


def measurements(*groups: Dataset) -> Dataset:
    """The container of measurement groups (TID 1500)."""
    return content("CONTAINER", ("126010", "DCM", "Imaging Measurements"), *groups, ContinuityOfContent="SEPARATE")


# Presentation states


def graphic(kind: str, data: Sequence[float], units: str = "PIXEL", **values: object) -> Dataset:
    """A plain graphic."""
    return item(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(data) // 2,
        GraphicData=list(data),
        GraphicType=kind,
        GraphicFilled="N",
        **values,
    )


def compound(kind: str, data: Sequence[float], number: int = 1, **values: object) -> Dataset:
    """A compound graphic."""
    return item(
        CompoundGraphicInstanceID=number,
        CompoundGraphicUnits="PIXEL",
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(data) // 2,
        GraphicData=list(data),
        CompoundGraphicType=kind,
        **values,
    )


def anchored(words: str, point: Sequence[float]) -> Dataset:
    """A text that points somewhere."""
    return item(UnformattedTextValue=words, AnchorPoint=list(point), AnchorPointAnnotationUnits="PIXEL", AnchorPointVisibility="N")


def board(
    images: Sequence[Dataset], graphics: Sequence[Dataset] = (), compounds: Sequence[Dataset] = (), texts: Sequence[Dataset] = ()
) -> Dataset:
    """An item of the graphic annotation sequence."""
    found = item(GraphicLayer="ONE")
    for keyword, value in (
        ("ReferencedImageSequence", images),
        ("GraphicObjectSequence", graphics),
        ("CompoundGraphicSequence", compounds),
        ("TextObjectSequence", texts),
    ):
        if value:
            setattr(found, keyword, list(value))
    return found


def presentation_state(path: Path, *boards: Dataset, **values: object) -> InstanceHeader:
    """A presentation state of slices 2 and 3."""
    dataset = item(Modality="PR", ContentLabel="MARKS", ContentCreatorName="Reader^Two", **values)
    images = [reference(image_uid(2)), reference(image_uid(3))]
    dataset.ReferencedSeriesSequence = [item(SeriesInstanceUID=SERIES_UID, ReferencedImageSequence=images)]
    dataset.GraphicAnnotationSequence = list(boards)
    return save(dataset, path, GrayscaleSoftcopyPresentationStateStorage)
