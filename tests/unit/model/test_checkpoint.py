"""Weights files of a compact network: their config, their hash, and what is said about broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CONFIG_KEY, load_model, save_safetensors
from model.errors import CheckpointError
from tests.unit.model.compact import COMPACT, compact_model


def test_a_compact_network_comes_back_with_its_sizes_and_widened_weights(tmp_path: Path) -> None:
    model, path = compact_model(), tmp_path / "compact.safetensors"
    save_safetensors(model, path, dtype=torch.float16, metadata={"licence": "Apache-2.0"})
    loaded = load_model(path)
    assert loaded.config == COMPACT
    for key, value in loaded.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.state_dict()[key].half().float()), key
    assert [file.name for file in tmp_path.iterdir()] == ["compact.safetensors"]


def test_another_hash_than_expected_is_refused_before_loading(tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    save_safetensors(compact_model(), path)
    with pytest.raises(CheckpointError, match="expected SHA-256 00ff") as caught:
        load_model(path, expected_sha256="00FF")
    assert caught.value.code == "checkpoint-sha256"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("absent.pt", None, "checkpoint-unreadable"),
        ("garbage.pt", b"not a checkpoint", "checkpoint-format"),
        ("empty.pt", b"", "checkpoint-format"),
        ("garbage.safetensors", b"not a checkpoint", "checkpoint-format"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(name: str, content: bytes | None, code: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"model": {"a": 1}}])
def test_a_torch_file_without_model_tensors_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"expected \{\"model\": tensors by name\}"):
        load_model(path)


def test_a_config_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "later.safetensors"
    save_file({"a": torch.zeros(1)}, str(path), metadata={CONFIG_KEY: '{"depth": 3}'})
    with pytest.raises(CheckpointError, match="depth") as caught:
        load_model(path)
    assert caught.value.code == "checkpoint-config"


def test_many_wrong_keys_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "nothing.safetensors"
    save_file({"a": torch.zeros(1)}, str(path), metadata={CONFIG_KEY: COMPACT.to_json()})
    with pytest.raises(CheckpointError, match=r"missing: .* and \d+ more; 1 unexpected: a"):
        load_model(path)


@pytest.mark.parametrize(
    "sizes", ['{"d_model": 1e9}', '{"embed_dim": 4096}', '{"stages": [9999, 2, 1, 1]}', '{"stages": 4}', "[" * 100_000]
)
def test_sizes_that_no_file_holds_are_refused_before_memory_is_taken(sizes: str, tmp_path: Path) -> None:
    path = tmp_path / "promising.safetensors"
    save_file({"a": torch.zeros(1)}, str(path), metadata={CONFIG_KEY: sizes})
    with pytest.raises(CheckpointError) as refused:
        load_model(path)
    assert refused.value.code == "checkpoint-config"
