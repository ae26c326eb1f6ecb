"""Volumes to learn from, and the pool that draws objects evenly over families and structures rather than over volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LabelledVolume:
    """One volume with the structures whose outline is known; what carries no label is unknown, not background."""

    frames: NDArray[np.uint8]
    """(k, j, i) uint8, windowed as inference does it."""
    labels: NDArray[np.uint8]
    """(k, j, i) uint8, on the same grid."""
    structures: Mapping[str, int]
    """Name -> label value, of the structures to prompt."""
    spacing_mm: tuple[float, float, float] | None = None
    """Between slices, rows and columns; None where it is unknown."""
    case: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError unless frames and labels share a grid."""
        if self.frames.shape != self.labels.shape or self.frames.ndim != 3:
            got = f"{self.frames.shape} and {self.labels.shape}"
            raise ValueError(f"{self.case or 'volume'}: expected frames and labels of one (k, j, i) shape, got {got}")

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(k, j, i) bool of one structure."""
        return np.asarray(self.labels == self.structures[name])

    def areas(self, value: int) -> NDArray[np.intp]:
        """Pixels with that label on each slice, (k,)."""
        return np.asarray(np.count_nonzero(self.labels == value, axis=(1, 2)), np.intp)


def label_maps(masks: Mapping[str, NDArray[np.bool_]]) -> list[tuple[NDArray[np.uint8], dict[str, int]]]:
    """Pack masks (k, j, i) that may overlap into as few label maps as a first fit gives: (labels, name -> value) each."""
    maps: list[tuple[NDArray[np.uint8], dict[str, int]]] = []
    for name, mask in masks.items():
        found = next((each for each in maps if not each[0][mask].any() and len(each[1]) < np.iinfo(np.uint8).max), None)
        if found is None:
            found = (np.zeros(mask.shape, np.uint8), {})
            maps.append(found)
        labels, structures = found
        structures[name] = len(structures) + 1
        labels[mask] = structures[name]
    return maps


@dataclass(frozen=True, kw_only=True)
class LabelledObject:
    """One structure of one volume, with its pixels on each slice (k,) counted once and for all."""

    volume: LabelledVolume
    value: int
    areas: NDArray[np.intp]


class Pool:
    """Objects by family and structure; a draw takes a family by its weight, a structure of it evenly, a volume of that evenly."""

    def __init__(self, families: Mapping[str, Iterable[LabelledVolume]], weights: Mapping[str, float] | None = None) -> None:
        """Raises ValueError when no family holds an object; a family without a weight has weight 1."""
        found = {name: _by_structure(volumes) for name, volumes in families.items()}
        self._families = {name: objects for name, objects in found.items() if objects}
        if not self._families:
            raise ValueError("expected volumes with at least one labelled structure, got none: check the label values and the split")
        shares = np.array([(weights or {}).get(name, 1.0) for name in self._families])
        self._chances = shares / shares.sum()

    def __len__(self) -> int:
        return sum(len(objects) for family in self._families.values() for objects in family)

    def counts(self) -> dict[str, int]:
        """Objects of each family."""
        return {name: sum(map(len, family)) for name, family in self._families.items()}

    def draw(self, rng: np.random.Generator) -> LabelledObject:
        """One object at random; nothing but `rng` decides which."""
        family = list(self._families.values())[int(rng.choice(len(self._chances), p=self._chances))]
        objects = family[int(rng.integers(len(family)))]
        return objects[int(rng.integers(len(objects)))]


def _by_structure(volumes: Iterable[LabelledVolume]) -> list[list[LabelledObject]]:
    structures: dict[str, list[LabelledObject]] = {}
    for volume in volumes:
        for name, value in volume.structures.items():
            areas = volume.areas(value)
            if areas.any():
                structures.setdefault(name, []).append(LabelledObject(volume=volume, value=value, areas=areas))
    return list(structures.values())
