"""The list of materials leaves nothing of the service out, and an audit that looked nothing up is no clean one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import pytest

from daemon.weights import collect, sha256_of
from tests.supply_chain.bill_of_materials import REPOSITORY, Bom, Lock, complete, read_lock, shortcomings
from tests.supply_chain.dependency_audit import CLEAN, NOT_AUDITED, VULNERABLE, judge

SHIPPED = collect({}, Path("no installed weights")).entries["starter"]


@pytest.fixture(scope="module")
def lock() -> Lock:
    return read_lock()


def found_environment(lock: Lock) -> Bom:
    """What cyclonedx-py writes of this environment, cut to the fields that matter here: runtime, development, and a stray package."""
    names = sorted(lock.required | lock.optional | lock.development)
    components: list[dict[str, Any]] = [
        {"bom-ref": name, "type": "library", "name": name, "version": version(name), "licenses": [{"license": {"name": licence(name)}}]}
        for name in names
    ]
    components.append({"bom-ref": "stray", "type": "library", "name": "stray", "version": "1", "licenses": []})
    root = {"ref": "root", "dependsOn": ["pydicom", "pytest", "stray"]}
    return {
        "metadata": {"component": {"bom-ref": "root"}},
        "components": components,
        "dependencies": [root, *({"ref": name} for name in names)],
    }


def licence(name: str) -> str:
    said = metadata(name)
    classified = [line for line in said.get_all("Classifier") or () if line.startswith("License ::")]
    return str((said.get_all("License-Expression") or said.get_all("License") or classified)[0])


def test_every_pin_is_of_a_package_that_we_need_and_every_package_that_we_need_is_pinned(lock: Lock) -> None:
    needed = lock.required | lock.optional | lock.development
    assert set(lock.pins) - needed == set()
    assert needed - set(lock.pins) - lock.pinned_by_torch == set()
    assert {"pydicom", "torch", "starlette", "numpy"} <= lock.required
    assert lock.optional == {"psycopg", "psycopg-binary"}


def test_the_bill_names_every_pinned_package_of_the_service_with_version_and_licence_and_none_of_development(lock: Lock) -> None:
    bom = complete(found_environment(lock), lock, [SHIPPED])
    assert shortcomings(bom, lock) == []
    scopes = {component["name"]: component["scope"] for component in bom["components"]}
    assert {name for name, scope in scopes.items() if scope == "required"} == lock.required | {"starter"}
    assert {name for name, scope in scopes.items() if scope == "optional"} == lock.optional
    assert {edge["ref"]: edge["dependsOn"] for edge in bom["dependencies"]}["root"] == ["pydicom", "weights:starter"]


def test_the_weights_stand_in_the_bill_with_the_hash_of_their_bytes_and_their_licence(lock: Lock) -> None:
    [model] = [one for one in complete(found_environment(lock), lock, [SHIPPED])["components"] if one["type"] != "library"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256_of(SHIPPED.file)}]
    assert model["licenses"][0]["license"]["id"] == "CC-BY-SA-4.0"
    assert (REPOSITORY / model["properties"][0]["value"]).is_file()


def test_a_package_that_is_missing_of_another_version_or_without_licence_is_told(lock: Lock) -> None:
    found = found_environment(lock)
    by_name = {component["name"]: component for component in found["components"]}
    found["components"].remove(by_name["pydicom"])
    by_name["numpy"]["version"] = "1.0"
    by_name["rich"]["licenses"] = []
    by_name["torch"]["version"] = f"{lock.pins['torch']}+cu999"
    told = shortcomings(complete(found, lock, [SHIPPED]), replace(lock, pins={k: v for k, v in lock.pins.items() if k != "h11"}))
    assert [line.split(":")[0] for line in told] == ["numpy", "pydicom", "rich", "torch", "h11"]


def test_an_audit_that_looked_nothing_up_is_not_clean() -> None:
    skipped = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    clean = {"name": "numpy", "version": "2.4.6", "vulns": []}
    known = {"name": "rich", "version": "15.0.0", "vulns": [{"id": "GHSA-0", "fix_versions": ["15.0.1"]}]}
    assert judge({"dependencies": [clean]}, "pypi").exit_code == CLEAN
    assert judge({"dependencies": [clean, skipped]}, "pypi").exit_code == NOT_AUDITED
    assert judge({"dependencies": []}, "pypi").exit_code == NOT_AUDITED
    assert judge(None, "osv", "name not known").exit_code == NOT_AUDITED
    told = judge({"dependencies": [clean, skipped, known]}, "pypi")
    assert told.exit_code == VULNERABLE
    assert any("rich 15.0.0: GHSA-0, cured in 15.0.1" in line for line in told.lines)
    assert any(line.startswith("NOT AUDITED") and "torch" in line for line in told.lines)


def test_what_cyclonedx_finds_here_has_no_shortcomings(lock: Lock, tmp_path: Path) -> None:
    tool = REPOSITORY / ".supply-chain" / "bin" / "cyclonedx-py"
    if not tool.is_file():
        pytest.skip("the tools of `make sbom` are not here: run it once")
    out = tmp_path / "found.json"
    subprocess.run(
        [tool, "environment", "--no-validate", "--pyproject", REPOSITORY / "pyproject.toml", "--output-file", out, sys.executable],
        check=True,
    )
    assert shortcomings(complete(json.loads(out.read_text(encoding="utf-8")), lock, [SHIPPED]), lock) == []
