"""A segmentation of a tilted stack lies on its native slices: every frame where its source is, shear included."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from dicom_io.segmentation import write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.series import read_series
from dicom_io.volume_reader import read_volume
from tests.unit.dicom_io.mutations import shift, spoil, write_series
from tests.unit.dicom_io.results import IDENTITY, KIDNEY


@pytest.mark.parametrize(("name", "axis"), [("axial", 1), ("oblique", 0), ("feet-first", 1)])
def test_every_frame_lies_on_its_source_slice(name: str, axis: int, tmp_path: Path) -> None:
    def tilt(dataset: FileDataset, index: int) -> None:
        offset = [0.0, 0.0, 0.0]
        offset[axis] = index * 0.67
        shift(dataset, offset)

    volume = read_volume(read_series(spoil(write_series(tmp_path, name), tilt)))
    assert "gantry-tilt" in volume.quirks
    mask = np.zeros((1, *volume.voxels.shape), np.bool_)
    mask[0, 1:5, 2:6, 3:9] = True
    mask[0, 4, 2:10, 3] = True
    part10 = write_segmentation(volume, mask, [KIDNEY], IDENTITY)
    check_segmentation(part10, volume, mask, [KIDNEY])
    written = pydicom.dcmread(io.BytesIO(part10))
    places = {str(source.sop_instance_uid): pydicom.dcmread(source.path).ImagePositionPatient for source in volume.sent if source.path}
    assert len(written.PerFrameFunctionalGroupsSequence) == 4
    for frame in written.PerFrameFunctionalGroupsSequence:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(frame.PlanePositionSequence[0].ImagePositionPatient, places[reference], atol=1e-3)
