"""The bill of materials (CycloneDX): what cyclonedx-py found in an environment, cut to what the service runs, and the weights that ship.

`make sbom` runs it. It fails, instead of writing a list with holes, where a pinned package of the service is missing, has another
version, or states no licence.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any, TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from daemon.weights import SHIPPED, WeightsEntry, collect, verify

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIONAL_EXTRA = "postgres"
DEVELOPMENT_EXTRA = "dev"
PINS_ITS_OWN = "torch"
"""The CUDA build of torch names its NVIDIA packages by exact version; ours need not name them again."""

Bom: TypeAlias = dict[str, Any]
"""A CycloneDX document as JSON."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Names (in PEP 503's spelling) of the packages that this project leads to, and the versions that are pinned."""

    required: frozenset[str]
    """What the service runs with."""
    optional: frozenset[str]
    """What the extra `postgres` adds."""
    development: frozenset[str]
    """What the extra `dev` adds: not part of the product."""
    pinned_by_torch: frozenset[str]
    """What torch alone leads to."""
    torch_build: str
    """The version of torch that is installed here, with what tells its CPU from its CUDA build."""
    pins: Mapping[str, Version]


def read_lock(repository: Path = REPOSITORY) -> Lock:
    """Return the lock of `pyproject.toml` and `constraints.txt`, followed through the metadata of the packages that are installed here."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = closure(project["dependencies"])
    optional = closure(extras[OPTIONAL_EXTRA]) - required
    others = closure(line for line in project["dependencies"] if Requirement(line).name != PINS_ITS_OWN)
    lines = (line.split("#")[0].strip() for line in (repository / "constraints.txt").read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line)
    return Lock(
        required=frozenset(required),
        optional=frozenset(optional),
        development=frozenset(closure(extras[DEVELOPMENT_EXTRA]) - required - optional),
        pinned_by_torch=frozenset(required - others - {PINS_ITS_OWN}),
        torch_build=version(PINS_ITS_OWN),
        pins={canonicalize_name(name): Version(pinned) for name, pinned in pairs},
    )


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of all packages that requirements lead to on this platform. Raises PackageNotFoundError for one that is not here."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in found:
                continue
            found.add((requirement.name, extra))
            following = (Requirement(line) for line in requires(requirement.name) or ())
            waiting += [one for one in following if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {canonicalize_name(name) for name, _ in found}


def complete(found: Bom, lock: Lock, weights: Iterable[WeightsEntry]) -> Bom:
    """Return the document without what the service does not run, with the scope of each package, and with the weights as components."""
    packages = [
        {**component, "scope": "optional" if _name(component) in lock.optional else "required"}
        for component in found["components"]
        if _name(component) in lock.required | lock.optional
    ]
    models = [weights_component(entry) for entry in weights]
    kept = {component["bom-ref"] for component in (*packages, *models)}
    root = found["metadata"]["component"]["bom-ref"]
    edges = [
        {**edge, "dependsOn": sorted(kept & set(edge.get("dependsOn", ())))}
        for edge in found["dependencies"]
        if edge["ref"] in kept and edge["ref"] != root
    ]
    direct = next((edge.get("dependsOn", ()) for edge in found["dependencies"] if edge["ref"] == root), ())
    edges.append({"ref": root, "dependsOn": sorted((kept & set(direct)) | {model["bom-ref"] for model in models})})
    return {**found, "components": [*packages, *models], "dependencies": edges}


def weights_component(entry: WeightsEntry) -> dict[str, Any]:
    """Return the component of a weights file, hashed from its bytes. Raises `UntrustedWeights` if that is not the recorded hash."""
    return {
        "type": "machine-learning-model",
        "bom-ref": f"weights:{entry.name}",
        "name": entry.name,
        "description": f"MedSAM2 weights, {entry.file.name}; intended use: {entry.intended_use}",
        "scope": "required",
        "hashes": [{"alg": "SHA-256", "content": verify(entry)}],
        "licenses": [{"license": {"id": entry.licence.replace(" ", "-"), "acknowledgement": "declared"}}],
        "properties": [{"name": "medsam2d:file", "value": f"{SHIPPED.parent.name}/{SHIPPED.name}/{entry.file.name}"}],
    }


def shortcomings(bom: Bom, lock: Lock) -> list[str]:
    """Return what is wrong with a document, a line each: packages that are missing, of another version, without licence, or not pinned."""
    packages = {_name(component): component for component in bom["components"] if component["type"] == "library"}
    said = [
        f"{name}: expected version {lock.pins[name]}, got {packages[name]['version'] if name in packages else 'no such package'}"
        for name in sorted(lock.required & set(lock.pins))
        if name not in packages or not _same(packages[name]["version"], lock.pins[name])
    ]
    said += [f"{name}: expected a licence in its metadata, got none" for name, one in sorted(packages.items()) if not one.get("licenses")]
    unpinned = sorted(set(packages) - set(lock.pins) - lock.pinned_by_torch)
    build = packages.get(PINS_ITS_OWN, {}).get("version")
    if build != lock.torch_build:
        said.append(
            f"{PINS_ITS_OWN}: expected the build {lock.torch_build}, whose packages are known here, got {build}; run this beside that build"
        )
    return said + [f"{name}: expected a version in constraints.txt, got none" for name in unpinned]


def main() -> int:
    """Read cyclonedx-py's document, write the completed one; 1 where it has shortcomings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("found", type=Path, help="what `cyclonedx-py environment` wrote")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    lock = read_lock()
    shipped = [entry for entry in collect({}, Path("no installed weights")).entries.values() if entry.source == "shipped"]
    bom = complete(json.loads(options.found.read_text(encoding="utf-8")), lock, shipped)
    wrong = shortcomings(bom, lock)
    if wrong:
        sys.stderr.writelines(f"{line}\n" for line in wrong)
        return 1
    options.out.write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    packages = sum(component["type"] == "library" for component in bom["components"])
    sys.stdout.write(f"{options.out}: {packages} packages and {len(shipped)} weights file(s), each with version or hash, and licence\n")
    return 0


def _name(component: Mapping[str, Any]) -> str:
    return str(canonicalize_name(component["name"]))


def _same(installed: str, pinned: Version) -> bool:
    # The CPU build of torch calls itself 2.13.0+cpu.
    return Version(installed).public == pinned.public


if __name__ == "__main__":
    sys.exit(main())
