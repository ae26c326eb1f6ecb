"""Weights files: official MedSAM2 checkpoints and safetensors, loaded strictly and known by their SHA-256."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from model.config import MedSAM2Config
from model.errors import CheckpointError
from model.medsam2 import MedSAM2

CONFIG_KEY = "medsam2_config"  # safetensors metadata: the sizes, as MedSAM2Config.to_json writes them
SPARE_NUMBERS = 100_000_000  # more than a network has, so that one whose file lacks tensors is still told which
SHOWN_WORDS = 400  # characters of a library's error
SHOWN_CHARACTERS = 120
SHOWN_KEYS = 5  # keys that a message names before it counts the rest
READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network in evaluation mode with the weights of one file."""

    model: MedSAM2
    config: MedSAM2Config
    sha256: str  # of the file's bytes, hexadecimal


def load_model(path: Path, *, expected_sha256: str | None = None) -> LoadedModel:
    """Load a `.safetensors` (its metadata may carry the sizes) or an official `.pt` ({"model": state}) onto the CPU as float32.

    Raises CheckpointError for an unreadable file, another SHA-256 than expected, or missing, unexpected or wrongly shaped keys.
    """
    digest = _digest(path)
    if expected_sha256 is not None and digest != expected_sha256.lower():
        message = f"{path}: expected SHA-256 {expected_sha256.lower()}, got {digest}; install it again or correct the configured hash"
        raise CheckpointError("checkpoint-sha256", message)
    config, state = _read_safetensors(path) if path.suffix == ".safetensors" else (MedSAM2Config(), _read_torch(path))
    try:
        with _no_larger_than(state):
            model = MedSAM2(config)
    except (ValueError, TypeError, ArithmeticError, IndexError, RuntimeError) as error:
        message = f"{path}: metadata {CONFIG_KEY}: expected sizes that fit the file's tensors, got others ({error}); download it again"
        raise CheckpointError("checkpoint-config", message) from error
    check_state(model, state, source=str(path))
    model.load_state_dict({key: value.float() for key, value in state.items()}, strict=True)
    return LoadedModel(model=model.eval(), config=config, sha256=digest)


def save_safetensors(model: MedSAM2, path: Path, *, dtype: torch.dtype = torch.float32, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights as `dtype` (float16 halves the file) with the sizes and `metadata` beside them; the file is whole or absent."""
    state = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(state, str(partial), metadata={**(metadata or {}), CONFIG_KEY: model.config.to_json()})
    partial.replace(path)


def check_state(model: MedSAM2, state: Mapping[str, Tensor], *, source: str) -> None:
    """Raise CheckpointError unless `state` has exactly the model's keys and shapes."""
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    wrong = [f"{key} expected {expected[key]}, got {shapes[key]}" for key in expected if key in shapes and shapes[key] != expected[key]]
    faults = {
        "missing": [key for key in expected if key not in shapes],
        "unexpected": [key for key in shapes if key not in expected],
        "of another shape": wrong,
    }
    parts = [f"{len(keys)} {name}: {_some(keys)}" for name, keys in faults.items() if keys]
    if parts:
        message = (
            f"{source}: expected the {len(expected)} tensors of MedSAM2 (SAM 2.1 Hiera-tiny), got {len(shapes)}; {'; '.join(parts)}. "
            "Give a MedSAM2 checkpoint, not one of another architecture (EfficientTAM, SAM 2 small/base/large)"
        )
        raise CheckpointError("checkpoint-keys", message)


@contextlib.contextmanager
def _no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Raise ValueError as soon as a network that is being built has far more numbers than the file: sizes may promise any."""
    left = sum(value.numel() for value in state.values()) + SPARE_NUMBERS

    def spend(_module: torch.nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise ValueError("a network larger than the file")

    hook = register_module_parameter_registration_hook(spend)
    try:
        yield
    finally:
        hook.remove()


def _short(error: Exception) -> str:
    """A library's words, which may quote a file at any length."""
    return " ".join(str(error).split())[:SHOWN_WORDS]


def _some(keys: list[str]) -> str:
    rest = len(keys) - SHOWN_KEYS
    return ", ".join(key[:SHOWN_CHARACTERS] for key in keys[:SHOWN_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        message = f"{path}: expected a readable weights file, got {error.strerror or error}; check the path and its permissions"
        raise CheckpointError("checkpoint-unreadable", message) from error
    return digest.hexdigest()


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        message = f"{path}: expected a torch checkpoint that holds only tensors, got {_short(error)}; download it again"
        raise CheckpointError("checkpoint-format", message) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        got = f"the entries {_some([str(key) for key in content])}" if isinstance(content, dict) else type(content).__name__
        message = f'{path}: expected {{"model": tensors by name}}, got {got}; give the checkpoint as it was published'
        raise CheckpointError("checkpoint-format", message)
    return state


def _read_safetensors(path: Path) -> tuple[MedSAM2Config, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        state: dict[str, Tensor] = load_file(str(path))
    except safetensors.SafetensorError as error:
        message = f"{path}: expected a safetensors file, got {_short(error)}; download it again"
        raise CheckpointError("checkpoint-format", message) from error
    try:
        config = MedSAM2Config.from_json(metadata[CONFIG_KEY]) if CONFIG_KEY in metadata else MedSAM2Config()
    except (ValueError, TypeError, RecursionError) as error:
        message = f"{path}: metadata {CONFIG_KEY}: {_short(error)}"
        raise CheckpointError("checkpoint-config", message) from error
    return config, state
