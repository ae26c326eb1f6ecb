"""Strict YAML: text into declared types, with every fault of a file at once, each at its line.

Scalars stay text until the declared type converts them; duplicate keys, unknown keys, empty values, foreign tags and
documents that grow without bound (aliases of aliases) are faults. A file that is right gives one frozen pydantic model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from rules.errors import ConfigFaults, Fault
from rules.fault_words import faults_of
from rules.places import Places, Step
from rules.scalars import shown

MAXIMUM_BYTES = 1 << 20
MAXIMUM_NODES = 50_000
"""Scalars, lists and mappings after aliases are followed: far above any rule file, far below what hurts."""
MAXIMUM_DEPTH = 30

PLAIN_TAGS = frozenset({"null", "bool", "int", "float", "timestamp", "str", "merge", "value", "seq", "map"})
"""What YAML itself would take a value for (YAML 1.1); all of them stay text here. Other tags ask for objects."""

M = TypeVar("M", bound=BaseModel)
Tree: TypeAlias = "str | list[Tree] | dict[str, Tree]"


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[M]):
    """A model and the places in the file that its parts came from."""

    value: M
    places: Places


def load(path: Path, model: type[M]) -> M:
    """Read a YAML file into `model`; raises `ConfigFaults` with all faults of the file."""
    return read(path, model).value


def read(path: Path, model: type[M]) -> Loaded[M]:
    """Read a YAML file into `model` and keep the line of every part; raises `ConfigFaults` with all faults.

    Validators find the file's folder as `info.context["folder"]` (for relative paths).
    """
    tree, reader = _tree(path)
    faults = list(reader.faults)
    value: M | None = None
    try:
        value = model.model_validate(tree, context={"folder": path.absolute().parent})
    except ValidationError as error:
        # A key without a value is left out of the tree: a second fault at its path would only echo the first.
        noted = {fault.path for fault in faults}
        faults += [fault for fault in faults_of(error, model, reader.places) if fault.path not in noted]
    if faults or value is None:
        raise ConfigFaults(sorted(faults, key=lambda fault: fault.line or 0))
    return Loaded(value=value, places=reader.places)


def _tree(path: Path) -> tuple[Tree, _NodeReader]:
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not YAML: {error.problem or error.context}; check indentation (spaces, no tabs), colons and quotes"
        raise _refusal(path, mark.line + 1 if mark else None, message) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refusal(path, line, f"not YAML: the character {chr(error.character)!r} is not allowed; remove it") from error
    except RecursionError as error:
        raise _refusal(path, None, f"nested too deeply; expected at most {MAXIMUM_DEPTH} levels") from error
    reader = _NodeReader(places=Places(file=path))
    if node is None:
        reader.places.lines[()] = 1
        return {}, reader
    tree = reader.convert(node, ())
    return (tree if tree is not None else {}), reader


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise _refusal(path, None, f"cannot be read ({error.strerror}); check the path and its permissions") from error
    if len(content) > MAXIMUM_BYTES:
        raise _refusal(path, None, f"expected at most {MAXIMUM_BYTES} bytes; split the file")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise _refusal(path, line, "a NUL byte; expected a UTF-8 text file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(path, line, f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8") from error


def _refusal(path: Path, line: int | None, message: str) -> ConfigFaults:
    return ConfigFaults([Fault(file=path, line=line, path="", message=message)])


@dataclass(kw_only=True)
class _NodeReader:
    """Turns composed nodes into text, lists and dicts, and notes each part's line and each fault."""

    places: Places
    faults: list[Fault] = field(default_factory=list)
    visited: int = 0

    def convert(self, node: yaml.Node, at: tuple[Step, ...]) -> Tree | None:
        """Return the node as text, list or dict; None where it has no value (a fault is noted)."""
        line = node.start_mark.line + 1
        self.places.lines.setdefault(at, line)
        self.visited += 1
        if self.visited > MAXIMUM_NODES or len(at) > MAXIMUM_DEPTH:
            message = f"expected at most {MAXIMUM_NODES} values and {MAXIMUM_DEPTH} levels after aliases (*name) are followed; write it out"
            raise _refusal(self.places.file, line, message)
        if node.tag.removeprefix("tag:yaml.org,2002:") not in PLAIN_TAGS:
            self._note(at, line, f"expected no tag, got {shown(node.tag)}; remove it")
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, at))
        if isinstance(node, yaml.SequenceNode):
            items = (self.convert(item, (*at, index)) for index, item in enumerate(node.value))
            return ["" if item is None else item for item in items]  # the empty text keeps the places of the items after it
        return self._scalar(str(node.value), at, plain=isinstance(node, yaml.ScalarNode) and node.style is None)

    def _scalar(self, text: str, at: tuple[Step, ...], *, plain: bool) -> str | None:
        if plain and text in ("", "~", "null", "Null", "NULL"):
            message = "expected a value, got none; write one (in quotes if this text is meant) or remove the key"
            self._note(at, self.places.lines[at], message)
            return None
        return text

    def _pairs(self, node: yaml.MappingNode, at: tuple[Step, ...]) -> Iterator[tuple[str, Tree]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._note(at, line, "expected a text as key, got a list or mapping")
                continue
            key = str(key_node.value)
            here = (*at, key)
            if key in seen:
                self._note(here, line, f"duplicate key; it stands on line {seen[key]} already: keep one")
                continue
            seen[key] = self.places.lines[here] = line
            value = self.convert(value_node, here)
            if value is not None:
                yield key, value

    def _note(self, at: tuple[Step, ...], line: int, message: str) -> None:
        self.faults.append(Fault(file=self.places.file, line=line, path=self.places.spell(at), message=message))
