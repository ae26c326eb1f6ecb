"""Rules, volumes and plans that the tests of `rules` start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.volume import SourceFrame, Volume
from rules.match import Plan, match
from rules.rule import Rule, RuleSet

LIVER = {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}
THRESHOLD = {"kind": "threshold", "low": "100"}


def target(**settings: object) -> dict[str, Any]:
    """A target as YAML gives it, all scalars text."""
    window = {"low": "-160", "high": "240"}
    return {"label": "Liver", "category": "AnatomicalStructure", "type": LIVER, "window": window, "prompt": THRESHOLD, **settings}


def rule(**settings: object) -> Rule:
    """A rule for every CT with one target."""
    return Rule.model_validate({"name": "ct", "match": {"Modality": "CT"}, "destinations": [], "targets": [target()], **settings})


def plan(*targets: Mapping[str, Any]) -> Plan:
    """The plan of a rule with these targets."""
    found = match({"Modality": "CT"}, RuleSet(rules=(rule(targets=list(targets)),)))
    assert isinstance(found, Plan)
    return found


def volume(voxels: NDArray[np.float32], affine: NDArray[np.float64] | None = None, padding: NDArray[np.bool_] | None = None) -> Volume:
    """A volume around voxels (k, j, i); default: axial, 2 mm slices, 1 mm pixels, first voxel at the origin."""
    if affine is None:
        affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    sources = tuple(
        SourceFrame(path=None, sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=f"2.25.{k + 1}") for k in range(len(voxels))
    )
    return Volume(voxels=voxels, affine=affine, frame_of_reference_uid="2.25.99", sources=sources, padding=padding)


def empty(*shape: int) -> NDArray[np.float32]:
    """Voxels of air."""
    return np.full(shape, -1000.0, np.float32)
