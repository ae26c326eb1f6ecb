"""Maps from other volumes to the series, each worked out once for all targets that need it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias

from dicom_io.volume import Volume
from rules.prompts.outcome import NoneFound
from rules.registration import Alignment, NotAlignable, align

Alignments: TypeAlias = MutableMapping[tuple[int, bool], Alignment | NoneFound]
"""By the `id` of the other volume, which lives as long as the context, and whether the map may bend."""


def aligned(volume: Volume, other: Volume, alignments: Alignments, *, deformable: bool) -> Alignment | NoneFound:
    """Return the map from `volume` to another one, or why there is none."""
    key = (id(other), deformable)
    if key not in alignments:
        try:
            alignments[key] = align(volume, other, deformable=deformable)
        except NotAlignable as error:
            alignments[key] = NoneFound(reason=f"no alignment: {error}")
    return alignments[key]
