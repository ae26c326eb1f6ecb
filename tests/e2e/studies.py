"""Studies that the end-to-end tests send, and the rules that they meet."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pydicom

from daemon.demo import affine_of
from dicom_io.instance import fill_identity
from dicom_io.series import find_instances
from dicom_io.synthesis import write_ct_series
from model.training.phantoms import demo_phantom

CT_BOX = """\
rules:
  - name: ct-box
    match: {Modality: CT}
    destinations: [archive]
    targets:
      - label: Region
        category: AnatomicalStructure
        type: {value: "39607008", scheme: SCT, meaning: Lung}
        window: {low: -1000, high: 400}
        stop_after_empty_frames: 1
        prompt: {kind: box, unit: fraction, frame: middle, left: 0.2, top: 0.3, right: 0.45, bottom: 0.7}
"""

NOTHING_MATCHES = CT_BOX.replace("Modality: CT", "Modality: MR")


def phantom_study(folder: Path) -> None:
    """A phantom CT series on disk."""
    phantom = demo_phantom(3)
    write_ct_series(folder, phantom.voxels_hu, affine_of(phantom))


def chest_ct(shared_folder: Path, folder: Path) -> None:
    """134 slices of chest CT, Explicit VR Little Endian, without the contours that lie in the same archive."""
    with tarfile.open(shared_folder / "data" / "ct_dicom_rtstruct" / "LUNG1-001.tar.xz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    target = folder / "images"
    target.mkdir()
    for number, header in enumerate(find_instances(folder / "unpacked")):
        if header.modality == "CT":
            header.path.rename(target / f"{number:04d}.dcm")


def jpeg_2000_ct(shared_folder: Path, folder: Path) -> None:
    """20 overlapping slices in JPEG 2000; the publisher blanked their UIDs, without which nothing can be sent: they are filled in."""
    target = folder / "images"
    target.mkdir(parents=True)
    for path in sorted((shared_folder / "data" / "ct_dicom_j2k_totalseg").iterdir()):
        image = pydicom.dcmread(path)
        fill_identity(image, image.file_meta.MediaStorageSOPClassUID, image.file_meta.MediaStorageSOPInstanceUID)
        image.save_as(target / f"{path.name}.dcm")
