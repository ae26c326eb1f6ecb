"""A checkpoint in the official form loads strictly, and again from safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.checkpoint import load_model, save_safetensors
from model.config import MedSAM2Config
from model.errors import CheckpointError

OFFICIAL_KEYS = 471
OFFICIAL_ELEMENTS = 38_962_754


def test_an_official_checkpoint_loads_strictly_and_survives_safetensors(golden_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    assert len(golden_tensors) == OFFICIAL_KEYS
    assert sum(value.numel() for value in golden_tensors.values()) == OFFICIAL_ELEMENTS
    official = tmp_path / "MedSAM2_latest.pt"
    torch.save({"model": golden_tensors}, official)
    digest = hashlib.sha256(official.read_bytes()).hexdigest()
    loaded = load_model(official, expected_sha256=digest)
    assert loaded.sha256 == digest
    assert loaded.config == MedSAM2Config()
    assert not loaded.model.training
    copy = tmp_path / "copy.safetensors"
    save_safetensors(loaded.model, copy)
    again = load_model(copy).model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in golden_tensors.items())


def test_a_checkpoint_without_some_keys_and_with_others_is_refused_by_name(golden_tensors: dict[str, Tensor], tmp_path: Path) -> None:
    state = {key: value for key, value in golden_tensors.items() if key != "no_obj_ptr"}
    state |= {"teacher.weight": torch.zeros(1), "no_mem_embed": torch.zeros(1, 1, 128)}
    path = tmp_path / "other.pt"
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert caught.value.code == "checkpoint-keys"
    for named in ("no_obj_ptr", "teacher.weight", "no_mem_embed expected (1, 1, 256), got (1, 1, 128)", "expected the 471 tensors"):
        assert named in str(caught.value)
