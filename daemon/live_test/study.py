"""The test study: a phantom's CT under UIDs of its own, which says that it is a test wherever a person looks."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon.demo import SEED, affine_of
from dicom_io.synthesis import SyntheticStudy, write_ct_series
from dicom_io.uids import UUID_ROOT, derive_uid
from model.training.phantoms import demo_phantom

PATIENT_ID = "MEDSAM2D-TEST"
PATIENT_NAME = "TEST^NOT A PATIENT"
DESCRIPTION = "TEST of medsam2d: phantom, no patient"
"""Of study and series. Results copy patient and study from their source, so that they say it too."""


@dataclass(frozen=True, kw_only=True)
class LiveStudy:
    """A test study on disk."""

    study_instance_uid: str
    folder: Path
    paths: tuple[Path, ...]


def write_study(folder: Path, now: datetime) -> LiveStudy:
    """Write the demonstration's phantom into `folder` as a study that nobody has sent before, dated `now`."""
    phantom = demo_phantom(SEED)
    uids = {name: derive_uid(UUID_ROOT, "send-test", uuid.uuid4().hex, name) for name in ("study", "series", "frame of reference")}
    described = SyntheticStudy(
        seed=SEED,
        patient_name=PATIENT_NAME,
        patient_id=PATIENT_ID,
        study_instance_uid=uids["study"],
        series_instance_uid=uids["series"],
        frame_of_reference_uid=uids["frame of reference"],
        study_id="TEST",
        accession_number="",
        study_date=f"{now:%Y%m%d}",
        study_time=f"{now:%H%M%S}",
        study_description=DESCRIPTION,
        series_description=DESCRIPTION,
    )
    paths = write_ct_series(folder, phantom.voxels_hu, affine_of(phantom), described)
    return LiveStudy(study_instance_uid=uids["study"], folder=folder, paths=paths)
