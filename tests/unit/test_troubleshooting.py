"""Whoever meets a code finds it in docs/troubleshooting.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from daemon.database.corrections import ConflictVerdict
from daemon.errors import FAULT_OF, classify
from model.errors import CheckpointError

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("daemon", "dicom_io", "model", "rules")
TREES = {
    path.relative_to(REPOSITORY): ast.parse(path.read_text(encoding="utf-8"))
    for room in ROOMS
    for path in sorted((REPOSITORY / room).rglob("*.py"))
}
TEXT = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CODE = re.compile(r"[a-z]{3,}(-[a-z0-9]+)*")
ENDS = ("skip", "refuse", "fail", "retry_later", "postpone", "send_again", "_close")
"""Functions of the store, and of what calls it, that take the code with which a job or a delivery ends or waits."""


def stable_codes() -> dict[str, str]:
    """Code -> the class that carries it: a class attribute `code`, of which every error has one."""
    return {
        code: f"{path}: {node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for code in _codes_of(node)
    }


def written_codes() -> dict[str, str]:
    """Code -> where it is written into a job or a delivery without a class of ours, or into an error that has several."""
    return {
        code: f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if path.parts[:2] != ("daemon", "commands")
        for node in ast.walk(tree)
        if isinstance(node, (ast.Call, ast.Dict))
        for expression in _given_as_code(node)
        for code in _texts(expression)
        if CODE.fullmatch(code)
    }


def test_every_stable_code_is_explained() -> None:
    codes = stable_codes()
    assert {"uneven-spacing", "gate-failure", "peer-unreachable"} <= set(codes)
    assert {code: place for code, place in codes.items() if f"`{code}`" not in TEXT} == {}


def test_every_code_that_a_job_or_a_delivery_ends_with_is_explained() -> None:
    codes = written_codes()
    assert {
        "worker-died",
        "own-result",
        "not-selected",
        "other-form-sent",
        "commitment-overdue",
        "incomplete",
        "shadow",
        "checkpoint-keys",
    } <= set(codes)
    assert {code: place for code, place in codes.items() if f"`{code}`" not in TEXT} == {}


def test_errors_that_are_not_ours_are_explained_by_the_code_that_they_get() -> None:
    foreign = [kind for kind, _ in FAULT_OF if kind.__module__ == "builtins"]
    assert foreign != []
    assert [code for kind in foreign if f"`{(code := classify(kind()).code)}`" not in TEXT] == []


def test_every_reason_to_quarantine_an_image_is_explained() -> None:
    assert [
        verdict.value for verdict in (ConflictVerdict.PIXELS_CHANGED, ConflictVerdict.UNREADABLE) if f"`{verdict.value}`" not in TEXT
    ] == []


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


def _given_as_code(node: ast.Call | ast.Dict) -> Iterator[ast.expr]:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "error_code")
        return
    yield from (keyword.value for keyword in node.keywords if keyword.arg in ("error_code", "code"))
    if isinstance(node.func, ast.Attribute) and node.func.attr in ENDS:
        yield from node.args[1:4]
    if isinstance(node.func, ast.Name) and node.func.id == CheckpointError.__name__:
        yield node.args[0]


def _texts(expression: ast.expr) -> Iterator[str]:
    """The texts of an expression, constants in capitals among them; a message, which is no code, is told apart by its spaces."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and node.id.isupper():
            yield from CONSTANTS.get(node.id, ())


def _constants() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for tree in TREES.values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, set()).add(node.value.value)
    return found


CONSTANTS = _constants()
