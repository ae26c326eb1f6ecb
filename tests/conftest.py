"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with `data/` and `golden/`: $MEDSAM2D_TEST_DATA, or `shared` beside the repository."""
    folder = Path(os.environ.get("MEDSAM2D_TEST_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no test data at {folder}; set MEDSAM2D_TEST_DATA to the folder that holds data/ and golden/")
    return folder
