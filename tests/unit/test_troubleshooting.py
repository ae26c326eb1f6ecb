"""Whoever meets a code finds it in docs/troubleshooting.md."""

from __future__ import annotations

import ast
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("daemon", "dicom_io", "model", "rules")


def stable_codes() -> dict[str, str]:
    """Code -> the class that carries it: a class attribute `code`, of which every error has one."""
    codes: dict[str, str] = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    codes |= {code: f"{path.relative_to(REPOSITORY)}: {node.name}" for code in _codes_of(node)}
    return codes


def test_every_stable_code_is_explained() -> None:
    text = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    codes = stable_codes()
    assert {"uneven-spacing", "gate-failure", "peer-unreachable"} <= set(codes)
    assert {code: place for code, place in codes.items() if f"`{code}`" not in text} == {}


def _codes_of(node: ast.ClassDef) -> list[str]:
    found = []
    for statement in node.body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target] if isinstance(statement, ast.AnnAssign) else []
        )
        is_code = any(isinstance(target, ast.Name) and target.id == "code" for target in targets)
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        if is_code and isinstance(value, ast.Constant) and isinstance(value.value, str):
            found.append(value.value)
    return found
