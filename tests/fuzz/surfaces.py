"""Every surface by name, and its share of a run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from tests.fuzz.surface import Surface

_PLACES: Mapping[str, tuple[str, str]] = {
    "series": ("series_files", "SURFACE"),
    "sr": ("annotation_objects", "REPORT"),
    "gsps": ("annotation_objects", "PRESENTATION_STATE"),
    "rtstruct": ("annotation_objects", "STRUCTURE_SET"),
    "seg": ("annotation_objects", "SEGMENTATION"),
    "seg-proof": ("segmentation_objects", "SURFACE"),
    "rules": ("yaml_files", "RULES"),
    "config": ("yaml_files", "CONFIG"),
    "stow": ("stow_answers", "SURFACE"),
    "http": ("web_requests", "SURFACE"),
    "inbox": ("inbox_files", "SURFACE"),
    "weights": ("weights_files", "SURFACE"),
}
SHARES: Mapping[str, int] = {
    "series": 8, "sr": 9, "gsps": 9, "rtstruct": 10, "seg": 8, "seg-proof": 9, "rules": 4, "config": 4, "stow": 12, "http": 12, "inbox": 12,
    "weights": 3,
}  # fmt: skip
"""Percent of the inputs, after what each costs."""


def surface(name: str) -> Surface:
    """Return a surface, whose modules are loaded now: no run needs all of them."""
    module, attribute = _PLACES[name]
    found = getattr(importlib.import_module(f"tests.fuzz.{module}"), attribute)
    assert isinstance(found, Surface)
    assert found.name == name
    return found
