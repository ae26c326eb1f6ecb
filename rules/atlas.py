"""Atlases: a volume of one body part whose structures are known, in one file that a rule can name.

An atlas is an `.npz` of plain arrays: `voxels` (k, j, i) float32, `affine` 4x4 float64 (to LPS millimetres), `structures` (n, bytes)
uint8 with one bit a voxel, and `about`, a JSON text with labels, codes, modality, source and licence. Nothing in it names a
patient: no header is kept.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.codes import Code
from dicom_io.volume import SourceFrame, Volume
from rules.errors import InvalidAtlas
from rules.voxel_regions import Mask

FORMAT = "medsam2d-atlas-1"
MOST_VOXELS = 2**28
"""A file that promises more is damaged or hostile: 1 GiB of float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Structure:
    """One known region of an atlas; `mask` is bool (k, j, i) with at least one voxel."""

    label: str
    type: Code | None
    mask: Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """A volume and its structures, with where they come from."""

    name: str
    volume: Volume
    structures: tuple[Structure, ...]
    modality: str
    source: str
    licence: str

    def __post_init__(self) -> None:
        if not self.structures:
            raise InvalidAtlas(f"atlas {self.name}: expected at least one structure, got none")
        labels = [structure.label for structure in self.structures]
        if len(set(labels)) != len(labels):
            raise InvalidAtlas(f"atlas {self.name}: expected a different label for each structure, got {', '.join(labels)}")
        for structure in self.structures:
            if structure.mask.shape != self.volume.voxels.shape or not structure.mask.any():
                raise InvalidAtlas(
                    f"atlas {self.name}: {structure.label}: expected voxels in a mask of shape {self.volume.voxels.shape}, got "
                    f"{int(structure.mask.sum())} in {structure.mask.shape}"
                )

    def structure(self, label: str | None, type_: Code) -> Structure | None:
        """Return the structure of a label (any case), or with no label the first of a type; None where there is none."""
        if label is not None:
            return next((one for one in self.structures if one.label.casefold() == label.casefold()), None)
        return next((one for one in self.structures if one.type and (one.type.value, one.type.scheme) == (type_.value, type_.scheme)), None)


def write_atlas(path: Path, atlas: Atlas) -> None:
    """Write an atlas to a file, which appears whole or not at all."""
    about = {
        "format": FORMAT,
        "modality": atlas.modality,
        "source": atlas.source,
        "licence": atlas.licence,
        "structures": [{"label": one.label, "type": vars(one.type) if one.type else None} for one in atlas.structures],
    }
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as stream:
        np.savez_compressed(
            stream,
            voxels=atlas.volume.voxels,
            affine=atlas.volume.affine,
            structures=np.stack([np.packbits(one.mask) for one in atlas.structures]),
            about=np.array(json.dumps(about, ensure_ascii=False)),
        )
    partial.replace(path)


def read_atlas(path: Path) -> Atlas:
    """Read an atlas from a file. Raises InvalidAtlas with what was expected."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                raise InvalidAtlas(f"{path.name}: expected the format {FORMAT}; build it with `medsam2d atlas build`")
            return _atlas(path.stem, archive, about)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidAtlas(f"{path.name}: not a readable atlas ({type(error).__name__}); build it with `medsam2d atlas build`") from error


def _atlas(name: str, archive: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Atlas:
    voxels, affine, packed = archive["voxels"], archive["affine"], archive["structures"]
    if voxels.ndim != 3 or voxels.dtype != np.float32 or not 0 < voxels.size <= MOST_VOXELS:
        raise InvalidAtlas(f"atlas {name}: voxels: expected (k, j, i) float32, got {voxels.shape} {voxels.dtype}")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InvalidAtlas(f"atlas {name}: affine: expected a regular 4x4 matrix, got shape {affine.shape}")
    structures = tuple(
        Structure(
            label=str(item["label"]),
            type=Code(**item["type"]) if item["type"] else None,
            mask=np.unpackbits(bits, count=voxels.size).astype(np.bool_).reshape(voxels.shape),
        )
        for item, bits in zip(about["structures"], packed, strict=True)
    )
    return Atlas(
        name=name,
        volume=atlas_volume(voxels, np.asarray(affine, np.float64)),
        structures=structures,
        modality=str(about["modality"]),
        source=str(about["source"]),
        licence=str(about["licence"]),
    )


def atlas_volume(voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> Volume:
    """Return a volume that no instance stands behind."""
    nowhere = SourceFrame(path=None, sop_class_uid="", sop_instance_uid="")
    return Volume(voxels=voxels, affine=affine, frame_of_reference_uid="", sources=(nowhere,) * len(voxels))
