"""The header of a segmentation object: geometry by a stand-in image, and the attributes that images share with it.

highdicom builds the header from one stand-in image, which holds geometry and nothing else. So a source that lacks
attributes or holds odd ones cannot stop it, a multi-frame source is treated like any other, and patient and study come
from the real header exactly as they stand there.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from dicom_io.result_header import TYPE_2_KEYWORDS, carry_source_attributes, source_references
from dicom_io.segmentation_source import SourceHeaders
from dicom_io.segmentation_types import ResultIdentity
from dicom_io.volume import Volume

LOSSY_KEYWORDS = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")

_STAND_IN_UID = "2.25.1"
_STAND_IN_FRAME_OF_REFERENCE = "2.25.0"


def stand_in(headers: SourceHeaders, volume: Volume) -> Dataset:
    """Return a single-frame image with the place of the first slice and no more."""
    geometry = headers.first_plane.geometry
    between_mm = abs(float(np.dot(volume.affine[:3, 0], geometry.normal)))
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _STAND_IN_UID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality"):
        setattr(image, keyword, headers.first[keyword].value)
    for keyword in TYPE_2_KEYWORDS:
        setattr(image, keyword, "")
    image.FrameOfReferenceUID = volume.frame_of_reference_uid or _STAND_IN_FRAME_OF_REFERENCE
    image.Rows, image.Columns = volume.voxels.shape[1:]
    image.ImagePositionPatient = list(geometry.position_mm)
    image.ImageOrientationPatient = [*geometry.row_cosines, *geometry.column_cosines]
    image.PixelSpacing = [geometry.row_spacing_mm, geometry.column_spacing_mm]
    image.SpacingBetweenSlices = between_mm
    # dcmqi and 3D Slicer refuse an object without thickness; contiguous slices are the plain assumption.
    image.SliceThickness = headers.first_plane.slice_thickness_mm or between_mm
    return image


def complete_header(dataset: Dataset, headers: SourceHeaders, identity: ResultIdentity) -> None:
    """Put what the source says in the place of what the stand-in said."""
    instances = source_references(headers)
    dataset.SourceImageSequence = instances
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = instances
    carry_source_attributes(dataset, headers, identity)
    dataset.PositionReferenceIndicator = headers.first.get("PositionReferenceIndicator") or ""
    if dataset.FrameOfReferenceUID == _STAND_IN_FRAME_OF_REFERENCE:
        # Without one in the source, the frames hold pixel for pixel by their derivation references (PS3.3 A.51.5.1).
        del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    if headers.lossy is not None:
        dataset.LossyImageCompression = "01"
        for keyword in LOSSY_KEYWORDS:
            if keyword in headers.lossy:
                dataset.add(headers.lossy[keyword])
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = identity.dimension_organization_uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = identity.dimension_organization_uid
