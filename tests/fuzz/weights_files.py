"""Damaged weights: safetensors and torch files of a compact network, whose headers promise other sizes, types or code."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import torch

from model.checkpoint import load_model, save_safetensors
from model.errors import CheckpointError
from tests.fuzz.byte_faults import Dice, broken
from tests.fuzz.surface import Surface, Try
from tests.fuzz.text_faults import JSON, damaged
from tests.unit.model.compact import compact_model


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    model = compact_model()
    sound, zipped = folder / "sound.safetensors", folder / "sound.pt"
    save_safetensors(model, sound)
    torch.save({"model": model.state_dict()}, zipped)
    content, archive = sound.read_bytes(), zipped.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, tensors = content[8 : 8 + size].decode(), content[8 + size :]
    config = json.loads(header)["__metadata__"]["medsam2_config"]

    def attempt(dice: Dice) -> str:
        if dice.random() < 0.2:
            path = folder / "weights.pt"
            path.write_bytes(broken(dice, archive, dice.choice((1, 3))))
        else:
            path = folder / "weights.safetensors"
            path.write_bytes(
                _safetensors(dice, header, config) + tensors[: dice.choice((len(tensors), len(tensors), 0, len(tensors) // 2))]
            )
        load_model(path)
        return "loaded"

    yield attempt


def _safetensors(dice: Dice, header: str, config: str) -> bytes:
    """The head of a file: a broken list of tensors, or sizes of a network that nobody has."""
    if dice.random() < 0.5:
        sizes = damaged(dice, config, (config,), JSON).decode(errors="replace")
        table = json.loads(header)
        table["__metadata__"]["medsam2_config"] = sizes
        text = json.dumps(table).encode()
    else:
        text = damaged(dice, header, (header,), JSON)
    claimed = len(text) if dice.random() < 0.9 else dice.choice((0, 1, 2**63, 2**64 - 1, len(text) * 2, 100_000_001))
    return struct.pack("<Q", claimed) + text


SURFACE = Surface(name="weights", opened=_opened, refusals=(CheckpointError,))
