"""A labelled volume as a DICOM study: images, and a segmentation object of what is known to be there.

So what begins with DICOM can be measured on cases that never were, by the very same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from daemon.atlas_sources import AtlasSource, Region, read_source
from daemon.errors import ConfigError
from dicom_io.codes import CATEGORIES, Code
from dicom_io.segmentation import ResultIdentity, SegmentDescription, write_segmentation
from dicom_io.series import read_series
from dicom_io.synthesis import Modality, SyntheticStudy, write_ct_series
from dicom_io.uids import derive_uid
from dicom_io.volume_reader import read_volume

MODALITIES: Mapping[str, Modality] = {"CT": "CT", "MR": "MR"}
TISSUE = Code(value="85756007", scheme="SCT", meaning="Tissue")


def write_labelled_case(folder: Path, case: Path) -> None:
    """Write an `.npz` case (`imgs`, `gts`, `spacing`, `meta` with its modality) as a study into `folder`.

    Raises ConfigError for a modality that images cannot be made up for, `rules.errors.InvalidAtlas` for another form.
    """
    source = read_source(case, None)
    if source.modality not in MODALITIES:
        raise ConfigError(f"{case.name}: meta: expected the modality {' or '.join(MODALITIES)}, got {source.modality or 'none'}")
    write_labelled_study(folder, source, SyntheticStudy(), MODALITIES[source.modality])


def write_labelled_study(folder: Path, source: AtlasSource, study: SyntheticStudy, modality: Modality) -> None:
    """Write the images of a volume and one segmentation object with all its regions, in the order of their names."""
    series = read_series(write_ct_series(folder, source.volume.voxels, source.volume.affine, study, modality))
    volume = read_volume(series)
    regions = [(name, source.regions[name]) for name in sorted(source.regions)]
    segments = [_described(number, name, region) for number, (name, region) in enumerate(regions, start=1)]
    identity = made_up_identity(series.series_instance_uid)
    part10 = write_segmentation(volume, [region.mask for _, region in regions], segments, identity)
    (folder / "truth.dcm").write_bytes(part10)


def _described(number: int, name: str, region: Region) -> SegmentDescription:
    return made_up_segment(number, name, region.type or TISSUE, algorithm_type="SEMIAUTOMATIC")


def made_up_segment(
    number: int, label: str, concept: Code, algorithm_type: Literal["AUTOMATIC", "SEMIAUTOMATIC"] = "AUTOMATIC"
) -> SegmentDescription:
    """Return the description of a segment of no patient, tracked by its label."""
    return SegmentDescription(
        number=number,
        label=label,
        category=CATEGORIES["AnatomicalStructure"],
        type=concept,
        algorithm_type=algorithm_type,
        tracking_id=label,
        tracking_uid=derive_uid("2.25", "benchmark", label),
    )


def made_up_identity(key: str = "") -> ResultIdentity:
    """Return who made a segmentation object of no patient; another `key` gives other UIDs."""
    return ResultIdentity(
        series_instance_uid=derive_uid("2.25", "benchmark", key, "series"),
        sop_instance_uid=derive_uid("2.25", "benchmark", key, "instance"),
        dimension_organization_uid=derive_uid("2.25", "benchmark", key, "dimensions"),
        series_number=9000,
        series_description="Benchmark, not for diagnosis",
        content_label="BENCHMARK",
        content_description="Benchmark",
        content_creator_name="benchmark",
        manufacturer="benchmark",
        manufacturer_model_name="benchmark",
        software_versions="0",
        device_serial_number="1",
        algorithm_name="benchmark",
        algorithm_version="0",
        algorithm_uid=derive_uid("2.25", "benchmark", "algorithm"),
        algorithm_parameters={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
