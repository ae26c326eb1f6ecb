"""The name and version that results, audit records and the command line carry."""

from __future__ import annotations

from importlib.metadata import version as installed_version

MODEL_NAME = "medsam2d"
ALGORITHM = "MedSAM2"
"""The algorithm's name in SegmentationAlgorithmIdentificationSequence; arXiv 2504.03600."""


def version() -> str:
    """Return the installed version of this software."""
    return installed_version("medsam2d")
