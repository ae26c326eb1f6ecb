"""`medsam2d atlas`: build the atlases that the prompt recipe `atlas` needs, and show what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.commands.common import JsonOption, say
from daemon.errors import ConfigError
from dicom_io.codes import Code
from dicom_io.geometry import voxel_volume_mm3
from rules.atlas import Atlas, Structure, read_atlas, write_atlas

if TYPE_CHECKING:
    from daemon.atlas_sources import AtlasSource

app = typer.Typer(help="Build and show atlases for the prompt recipe `atlas`.", no_args_is_help=True)
SPELLING = "NAME=LABEL or NAME=LABEL:CODE:SCHEME, for example 1=Liver:10200004:SCT"


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help="DICOM folder (one series with SEG or RTSTRUCT), NIfTI or NRRD image, or .npz")],
    out: Annotated[Path, typer.Option(help="the atlas, an .npz file beside the rules that name it")],
    origin: Annotated[str, typer.Option(help="where the data come from, for whoever asks later")],
    licence: Annotated[str, typer.Option(help="the licence or permission that they come under")],
    labels: Annotated[Path | None, typer.Option(help="label image of a NIfTI or NRRD image")] = None,
    structure: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help=f"{SPELLING}; repeat; absent: all, by their own names")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build an atlas: voxels, geometry and the masks of known structures in one file, without any header of the patient."""
    if out.suffix != ".npz":
        raise ConfigError(f"--out {out.name}: expected a file name that ends in .npz")
    from daemon.atlas_sources import read_source  # torch loads only for the commands that need it

    given = read_source(source, labels)
    atlas = Atlas(
        name=out.stem,
        volume=given.volume,
        structures=_structures(given, structure or [f"{name}={name}" for name in given.regions]),
        modality=given.modality,
        source=origin,
        licence=licence,
    )
    write_atlas(out, atlas)
    say("\n".join(_lines(atlas)), _report(atlas), as_json=as_json)


@app.command()
def show(file: Path, as_json: JsonOption = False) -> None:
    """Show an atlas: its structures with codes and volumes, its source and licence."""
    atlas = read_atlas(file)
    say("\n".join(_lines(atlas)), _report(atlas), as_json=as_json)


def _report(atlas: Atlas) -> dict[str, object]:
    structures = [
        {"label": one.label, "type": vars(one.type) if one.type else None, "volume_ml": _millilitres(atlas, one)}
        for one in atlas.structures
    ]
    return {"name": atlas.name, "modality": atlas.modality, "source": atlas.source, "licence": atlas.licence, "structures": structures}


def _structures(given: AtlasSource, specs: list[str]) -> tuple[Structure, ...]:
    found = []
    for spec in specs:
        name, equals, rest = spec.rpartition("=")
        label, *coded = rest.split(":")
        if not equals or not label or len(coded) not in (0, 2):
            raise ConfigError(f"--structure {spec!r}: expected {SPELLING}")
        if name not in given.regions:
            raise ConfigError(f"--structure {spec!r}: expected one of {', '.join(given.regions) or 'no region at all'}, got {name!r}")
        region = given.regions[name]
        try:
            code = Code(value=coded[0], scheme=coded[1], meaning=label) if coded else region.type
        except ValueError as error:
            raise ConfigError(f"--structure {spec!r}: {error}") from error
        found.append(Structure(label=label, type=code, mask=region.mask))
    return tuple(found)


def _lines(atlas: Atlas) -> list[str]:
    sizes = " x ".join(str(size) for size in atlas.volume.voxels.shape)
    spacing = " x ".join(f"{step:.2f}" for step in atlas.volume.spacing_mm)
    structures = [f"  {one.label}  {_millilitres(atlas, one)} ml  {one.type or 'no code'}" for one in atlas.structures]
    head = f"{atlas.name}: {atlas.modality or 'modality not stated'}, {sizes} voxels of {spacing} mm (k, j, i)"
    return [head, *structures, f"  source   {atlas.source}", f"  licence  {atlas.licence}"]


def _millilitres(atlas: Atlas, structure: Structure) -> float:
    return round(float(structure.mask.sum()) * voxel_volume_mm3(atlas.volume.affine) / 1000.0, 2)
