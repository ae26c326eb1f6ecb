"""Image coordinates to patient millimetres, against highdicom's own transformer, and refusals of what has no place."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from dicom_io.annotations.annotation import ImageReference
from dicom_io.annotations.image_places import image_places
from dicom_io.errors import UnplacedAnnotation
from dicom_io.series import find_instances
from tests.unit.dicom_io.annotations.drawings import image_uid
from tests.unit.dicom_io.ct_files import ENHANCED_UID, GEOMETRIES, SLICES, write_enhanced_volume, write_volume


@pytest.mark.parametrize("name", sorted(GEOMETRIES))
def test_image_coordinates_map_as_highdicom_maps_them(name: str, tmp_path: Path) -> None:
    write_volume(tmp_path, name)
    headers = find_instances(tmp_path)
    place = image_places(headers).of(ImageReference(sop_instance_uid=image_uid(3)))
    plane = place.plane
    theirs = hd.spatial.ImageToReferenceTransformer(
        image_position=plane.position_mm,
        image_orientation=(*plane.row_cosines, *plane.column_cosines),
        pixel_spacing=(plane.row_spacing_mm, plane.column_spacing_mm),
    )
    corner_xy = np.array([(0.0, 0.0), (0.5, 0.5), (27.3, 19.9), (28.0, 0.0)])
    np.testing.assert_allclose(place.to_lps(corner_xy), theirs(corner_xy), atol=1e-9)


def test_a_frame_of_an_enhanced_instance_must_be_named_and_exist(tmp_path: Path) -> None:
    write_enhanced_volume(tmp_path / "enhanced.dcm")
    places = image_places(find_instances(tmp_path))
    assert (
        places.of(ImageReference(sop_instance_uid=ENHANCED_UID, frame_number=SLICES)).plane
        != places.of(ImageReference(sop_instance_uid=ENHANCED_UID, frame_number=1)).plane
    )
    with pytest.raises(UnplacedAnnotation, match="got a reference to all 9"):
        places.of(ImageReference(sop_instance_uid=ENHANCED_UID))
    with pytest.raises(UnplacedAnnotation, match=r"expected a frame of 1\.\.9"):
        places.of(ImageReference(sop_instance_uid=ENHANCED_UID, frame_number=10))


def test_an_image_without_a_place_in_the_patient_gives_none(shared_folder: Path) -> None:
    header = find_instances(shared_folder / "data" / "us_multiframe")[0]
    with pytest.raises(UnplacedAnnotation, match="without a place in the patient"):
        image_places([header]).of(ImageReference(sop_instance_uid=header.sop_instance_uid, frame_number=1))
