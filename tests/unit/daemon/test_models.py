"""Resident models: the most recently used stay, a hash is known without loading again, and a full device gives others up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from daemon.models import ResidentModels
from daemon.weights import WeightsBook, WeightsEntry
from model.checkpoint import save_safetensors
from model.segmenter import Segmenter
from tests.unit.model.compact import compact_model


def models(folder: Path, limit: int = 2) -> ResidentModels:
    entries = {}
    for number, name in enumerate("abc"):
        save_safetensors(compact_model(seed=number), folder / f"{name}.safetensors")
        file = folder / f"{name}.safetensors"
        entries[name] = WeightsEntry(name=name, file=file, sha256=None, licence="", intended_use="", source="test")
    return ResidentModels(book=WeightsBook(entries=entries), default="a", device="cpu", limit=limit)


def test_the_weights_used_longest_ago_are_given_up(tmp_path: Path) -> None:
    room = models(tmp_path)
    a, b = room.segmenter("a"), room.segmenter("b")
    assert room.segmenter(None) is a
    room.segmenter("c")
    assert room.segmenter("a") is a
    assert room.segmenter("b") is not b


def test_the_hash_of_weights_that_were_given_up_is_still_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = models(tmp_path, limit=1)
    before = room.sha256("a")
    room.segmenter("b")
    monkeypatch.setattr(room, "segmenter", None)
    assert room.sha256("a") == before


def test_weights_that_do_not_fit_beside_others_take_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = models(tmp_path)
    a = room.segmenter("a")
    _fail(monkeypatch, times=1)
    room.segmenter("b")
    assert room.segmenter("a") is not a


def test_weights_that_fit_on_no_accelerator_run_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = models(tmp_path)
    _fail(monkeypatch, times=2)
    assert isinstance(room.segmenter("a"), Segmenter)


def _fail(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let so many segmenters find the device full."""
    made = Segmenter.__init__
    left = [times]

    def crowded(self: Segmenter, *args: object, **kwargs: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise torch.OutOfMemoryError("full")
        made(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Segmenter, "__init__", crowded)
