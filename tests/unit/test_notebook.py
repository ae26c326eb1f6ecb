"""The notebook for researchers runs from top to bottom, and its object is found."""

from __future__ import annotations

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_notebook_runs_and_finds_the_organ() -> None:
    notebook = json.loads((REPOSITORY / "docs" / "segment_arrays.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    names: dict[str, object] = {}
    exec(compile(code, "segment_arrays.ipynb", "exec"), names)
    assert isinstance(names["dice"], float)
    assert names["dice"] > 0.8
