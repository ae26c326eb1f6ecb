"""`medsam2d weights`: which weights there are, their licence and intended use, and whether their files are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from daemon.audit import open_audit
from daemon.commands.common import ConfigOption, JsonOption, load_settings, progress_bar
from daemon.download import forget
from daemon.errors import ConfigError, UntrustedWeights
from daemon.published_weights import LICENCE, PUBLISHED, PUBLISHER, PublishedWeights, download, published
from daemon.weights import InstallRequest, WeightsEntry, book_of, install, sha256_of, verify, vouched_sha256

app = typer.Typer(help="List, install and verify weights.", no_args_is_help=True)

DOWNLOADS = "downloads"
"""The folder beside the installed files in which those lie that are on their way, or wait for somebody to vouch for them."""


@app.command(name="list")
def list_weights(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the weights by name with licence, intended use and SHA-256."""
    entries = book_of(load_settings(config, missing_is_default=True)).entries.values()
    if as_json:
        typer.echo(json.dumps([{**vars(entry), "file": str(entry.file)} for entry in entries]))
        return
    for entry in entries:
        typer.echo(f"{entry.name} ({entry.source})")
        typer.echo(f"  licence       {entry.licence}")
        typer.echo(f"  intended use  {entry.intended_use}")
        typer.echo(f"  sha256        {entry.sha256 or 'none recorded: the file is trusted as it is'}")
        typer.echo(f"  file          {entry.file}")


@app.command(name="verify")
def verify_weights(name: Annotated[str | None, typer.Argument()] = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare the weights files with their recorded SHA-256; exit code 1 if one differs."""
    book = book_of(load_settings(config, missing_is_default=True))
    answers = [(entry.name, *_verified(entry)) for entry in ([book.find(name)] if name else book.entries.values())]
    if as_json:
        typer.echo(json.dumps([{"name": name, "good": good, "found": found} for name, good, found in answers]))
    else:
        for name, good, found in answers:
            typer.echo(f"{name}: {found}", err=not good)
    raise typer.Exit(0 if all(good for _, good, _ in answers) else 1)


def _verified(entry: WeightsEntry) -> tuple[bool, str]:
    try:
        return True, f"sha256 {verify(entry)} {'as recorded' if entry.sha256 else 'trusted without a recorded hash'}"
    except UntrustedWeights as error:
        return False, str(error)


@app.command(name="install")
def install_weights(
    file: Annotated[str, typer.Argument(metavar="NAME|FILE", help="a model of the publisher's, or a .pt or .safetensors file")],
    name: Annotated[str | None, typer.Option(help="the name that rules will use (default: the publisher's)")] = None,
    sha256: Annotated[str | None, typer.Option(help="the publisher's SHA-256 of the file")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="vouch for the file yourself; this is audited")] = False,
    licence: Annotated[str | None, typer.Option(help="the licence the weights come under")] = None,
    intended_use: Annotated[str | None, typer.Option(help="what the weights are meant for")] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL", help="another server with the publisher's files")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Install a weights file, or one of the publisher's by its name, once its hash is vouched for and its keys are checked."""
    settings = load_settings(config, missing_is_default=True)
    folder = settings.folders.weights
    wanted = None if Path(file).is_file() else published(file)
    request = InstallRequest(
        file=Path(file) if wanted is None else _downloaded(wanted, folder / DOWNLOADS, mirror, sha256, trust=trust, quiet=as_json),
        name=name or _own_name(file, wanted),
        sha256=sha256 or (None if wanted is None else wanted.sha256),
        trust=trust,
        licence=licence or ("unknown" if wanted is None else LICENCE),
        intended_use=intended_use or ("unknown" if wanted is None else wanted.intended_use),
    )
    vouched_sha256(request)
    _expect_medsam2(request.file, request.sha256)
    entry = install(request, folder)
    open_audit(settings.folders.audit).weights_installed(name=entry.name, sha256=entry.sha256 or "", trusted=request.sha256 is None)
    if wanted is not None:
        forget(request.file)
    typer.echo(
        json.dumps({**vars(entry), "file": str(entry.file)})
        if as_json
        else f"{entry.name}: installed as {entry.file} (sha256 {entry.sha256})"
    )


def _expect_medsam2(file: Path, sha256: str | None) -> None:
    """Load the file as a worker would. Raises CheckpointError where it is no MedSAM2."""
    from model.checkpoint import load_model  # torch loads only here

    load_model(file, expected_sha256=sha256)


def _own_name(file: str, wanted: PublishedWeights | None) -> str:
    if wanted is None:
        known = ", ".join(PUBLISHED)
        if not Path(file).is_file():
            raise UntrustedWeights(
                f"no weights file {file}; give the path of a .pt or .safetensors file, or one of the publisher's: {known}"
            )
        raise ConfigError("--name: expected the name that rules will use, got none; a file of your own needs one")
    return wanted.name


def _downloaded(wanted: PublishedWeights, folder: Path, mirror: str | None, sha256: str | None, *, trust: bool, quiet: bool) -> Path:
    """Fetch a published file; its hash is told, and asked for, where nobody vouches for it."""
    with progress_bar(f"MiB of {wanted.file}", quiet=quiet) as progress:
        fetched = download(wanted, folder, mirror, sha256, lambda done, total: progress(done >> 20, max(total >> 20, 1)))
    if not (sha256 or wanted.sha256 or trust):
        found = sha256_of(fetched.path)
        too = ", which its server states too," if fetched.stated_sha256 else ""
        raise UntrustedWeights(
            f"{wanted.file} is downloaded, and not installed: nobody vouches for SHA-256 {found}{too} yet. Compare it with"
            f" {PUBLISHER}/blob/main/{wanted.file} and pass --sha256 {found}, or pass --trust; it is not downloaded again"
        )
    return fetched.path
