"""Cleaning a mask after propagation, as its target asks: only the largest connected part, or as it is."""

from __future__ import annotations

from rules.rule import Target
from rules.voxel_regions import Mask, largest_component


def clean(mask: Mask, target: Target) -> Mask:
    """Return the mask (k, j, i) as the target wants it delivered; the input is not changed."""
    return largest_component(mask) if target.largest_component else mask
