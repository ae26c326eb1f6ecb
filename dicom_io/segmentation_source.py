"""What the source images of a segmentation say of themselves: patient, study, and where each plane lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_io.errors import InvalidSegmentation, MissingGeometry
from dicom_io.frame_attributes import frame_count, plane_of_frame, slice_thickness_mm
from dicom_io.geometry import PlaneGeometry
from dicom_io.instance import read_dataset
from dicom_io.volume import SourceFrame, Volume

IDENTITY_KEYWORDS = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber",
)  # fmt: skip
"""Patient and study, as every result must state them."""


@dataclass(frozen=True, kw_only=True)
class SourcePlane:
    """One slice of the volume, as its instance states it."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    """Counts from 1 in a multi-frame instance; None for an instance of one frame, which is referenced without a number."""
    geometry: PlaneGeometry
    slice_thickness_mm: float | None


@dataclass(frozen=True, kw_only=True)
class SourceHeaders:
    """The header that patient and study are carried from, and the plane of each slice k that was sent."""

    first: Dataset
    """Header of the instance behind the first slice, text decoded, without pixels; read afresh, so that nobody else holds it."""
    lossy: Dataset | None
    """Header of the first instance whose pixels were ever compressed with loss, if any."""
    planes: Mapping[int, SourcePlane]
    """By slice k, in ascending order. Slices that were interpolated between others have none, and get no frames."""
    carried: Mapping[str, str]
    """What must stand in every result as it does here, by keyword, taken down before anybody could change `first`."""

    instances: tuple[tuple[str, str], ...]
    """(SOP Class UID, SOP Instance UID) of every instance that the result was made of."""

    @property
    def first_plane(self) -> SourcePlane:
        """The plane of the first slice that was sent."""
        return next(iter(self.planes.values()))


def read_source_headers(volume: Volume) -> SourceHeaders:
    """Read the headers behind `volume.sources`, each file once; blanked identifiers are filled as `read_dataset` does.

    Raises InvalidSegmentation if a slice has no file behind it, if a file holds another instance than the volume
    says, or if the slices come from several series; MissingGeometry if a plane has no place; NotDicom or OSError if
    a file is damaged or gone.
    """
    sources = {k: source for k, source in enumerate(volume.sources) if source is not None}
    headers = {path: read_dataset(path) for path in dict.fromkeys(map(_path, sources.values()))}
    planes = {k: _plane(headers[_path(source)], source) for k, source in sources.items()}
    return _source_headers(tuple(headers.values()), planes)


def read_instance_headers(paths: Sequence[Path]) -> SourceHeaders:
    """Read the headers of instances that no volume came of, for a report that says so; raises as `read_source_headers` does."""
    return _source_headers(tuple(read_dataset(path) for path in paths), {})


def _source_headers(headers: Sequence[Dataset], planes: Mapping[int, SourcePlane]) -> SourceHeaders:
    series = {(str(header.StudyInstanceUID), str(header.SeriesInstanceUID)) for header in headers}
    if len(series) != 1:
        raise InvalidSegmentation(f"sources: expected instances of one series, got {len(series)} series; make one object for each")
    first = headers[0]
    first.decode()
    lossy = next((header for header in headers if header.get("LossyImageCompression") == "01"), None)
    return SourceHeaders(
        first=first,
        lossy=lossy,
        planes=planes,
        carried={keyword: str(first.get(keyword) or "") for keyword in IDENTITY_KEYWORDS},
        instances=tuple(dict.fromkeys((str(header.SOPClassUID), str(header.SOPInstanceUID)) for header in headers)),
    )


def _path(source: SourceFrame | None) -> Path:
    if source is None or source.path is None:
        raise InvalidSegmentation(
            f"source {source.sop_instance_uid if source else 'of a bridged slice'}: expected a DICOM file, got none; "
            "a segmentation object can only be made of DICOM images"
        )
    return source.path


def _plane(header: Dataset, source: SourceFrame) -> SourcePlane:
    if str(header.SOPInstanceUID) != source.sop_instance_uid:
        raise InvalidSegmentation(
            f"{source.path}: expected SOP Instance UID {source.sop_instance_uid}, got {header.SOPInstanceUID}; read the series again"
        )
    frames = frame_count(header)
    if not 1 <= source.frame_number <= frames:
        raise InvalidSegmentation(f"{source.path}: expected a frame of 1 to {frames}, got {source.frame_number}; read the series again")
    geometry = plane_of_frame(header, source.frame_number)
    if geometry is None:
        raise MissingGeometry(
            f"{source.path} frame {source.frame_number}: expected position, orientation and pixel spacing, got none or wrong ones"
        )
    return SourcePlane(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        frame_number=None if frames == 1 else source.frame_number,
        geometry=geometry,
        slice_thickness_mm=slice_thickness_mm(header, source.frame_number),
    )
