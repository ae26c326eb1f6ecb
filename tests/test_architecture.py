"""Who may import whom: the arrows of the README's "How the code is laid out"."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("daemon", "dicom_io", "model", "rules")
HEAVY_FOR_RULES = ("torch", "pynetdicom")
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "model": ("daemon", "dicom_io", "rules", "pydicom", "pynetdicom", "highdicom", "SimpleITK", "sqlalchemy", "yaml"),
    "dicom_io": ("daemon", "model", "rules", "torch", "sqlalchemy", "yaml"),
    "rules": ("daemon", "torch", "pynetdicom", "sqlalchemy"),
}
# `annotations.placed` holds types alone: what a person drew, in voxel indices, which recipes turn into prompts.
RULES_MAY_IMPORT = (
    "model.prompt",
    "model.result",
    "dicom_io.geometry",
    "dicom_io.volume",
    "dicom_io.codes",
    "dicom_io.annotations.placed",
    "dicom_io.context_groups",
)


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """Every absolute import of a file as (line, dotted name); `from a import b` counts as `a.b` and as `a`."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, node.module)]
    return found


def faults_of(room: str, folder: Path) -> list[str]:
    faults = []
    for path in sorted(folder.rglob("*.py")):
        for line, name in imported_modules(path):
            top = name.split(".")[0]
            foreign = room == "rules" and top in ("model", "dicom_io") and name not in RULES_MAY_IMPORT
            if top in FORBIDDEN[room] or foreign:
                faults.append(f"{path.relative_to(folder.parent)}:{line}: {room}/ must not import {name}")
    return faults


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room_imports_only_what_the_architecture_allows(room: str) -> None:
    assert faults_of(room, REPOSITORY / room) == []


def test_the_import_check_catches_a_forbidden_import(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bad.py").write_text("import numpy\nfrom pydicom.uid import UID\n")
    assert faults_of("model", tmp_path / "model") == ["model/bad.py:2: model/ must not import pydicom.uid"]


def test_importing_every_module_of_rules_loads_neither_torch_nor_pynetdicom() -> None:
    modules = [str(path.relative_to(REPOSITORY).with_suffix("")).replace("/", ".") for path in (REPOSITORY / "rules").rglob("*.py")]
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print([name for name in {HEAVY_FOR_RULES!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_the_listeners_process_carries_no_library_that_looks_at_pixels() -> None:
    code = "import sys, daemon.roles; print([name for name in ('torch', 'highdicom', 'SimpleITK') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_package_markers_hold_nothing_but_a_docstring() -> None:
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("__init__.py"):
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{path}: expected a docstring alone"
            assert isinstance(body[0], ast.Expr), f"{path}: expected a docstring alone"


def test_the_command_line_loads_torch_and_simpleitk_only_when_a_command_needs_them() -> None:
    code = "import sys, daemon.cli; print([name for name in ('torch', 'SimpleITK') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
