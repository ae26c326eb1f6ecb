"""The sizes of a MedSAM2 network; the defaults are the official SAM 2.1 Hiera-tiny at 512 pixels."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

PATCH_STRIDE = 4  # pixels a patch, the finest level of the image encoder
FEATURE_STRIDE = 16  # pixels a cell of the feature grid (the level that is remembered and decoded)
MASK_STRIDE = 4  # pixels a cell of the low-resolution mask logits


MAXIMUM_SIZE = 4096
MAXIMUM_BLOCKS = 64
_COUNTS = frozenset(("stages", "memory_attention_layers", "memory_fuser_layers", "decoder_depth", "num_maskmem"))
"""Of blocks and layers, each of which takes time to build."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MedSAM2Config:
    """Every size of the network; behaviour is the same for all of them.

    Raises ValueError at construction when sizes contradict one another.
    """

    image_size: int = 512  # pixels, side of the square that a frame is resized to
    embed_dim: int = 96  # channels of the first trunk stage, doubled by each later one
    num_heads: int = 1  # heads of the first trunk stage, doubled by each later one
    stages: tuple[int, int, int, int] = (1, 2, 7, 2)  # trunk blocks a stage
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)  # attention window a stage, in cells of its map
    global_attention_blocks: tuple[int, ...] = (5, 7, 9)  # trunk blocks that see the whole map
    pos_embed_background: tuple[int, int] = (7, 7)  # (rows, columns) of the interpolated position table
    trunk_mlp_ratio: int = 4
    d_model: int = 256  # channels of image features, tokens and object pointers
    memory_dim: int = 64  # channels of a stored memory
    memory_attention_layers: int = 4
    memory_attention_feedforward: int = 2048
    memory_fuser_layers: int = 2
    memory_fuser_ratio: int = 4
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_feedforward: int = 2048
    decoder_attention_downsample: int = 2
    num_multimask_outputs: int = 3
    mask_prompt_channels: int = 16
    num_maskmem: int = 7  # spatial memories of tracked frames, plus one for the conditioning frames
    max_object_pointers: int = 16
    region_scale: float = 0.0  # side of the square cut out around an object, in longer sides of its box; 0 = whole frames
    region_minimum: int = 16  # pixels, the least side of that square

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built, naming what was expected."""
        _expect_sizes(self)
        stride = 2 * FEATURE_STRIDE
        _require(self.image_size % stride == 0, "image_size", f"a multiple of {stride}", self.image_size)
        _require(len(self.stages) == 4 and min(self.stages) >= 1, "stages", "four counts of at least 1", self.stages)
        _require(len(self.windows) == 4 and min(self.windows) >= 1, "windows", "four sizes of at least 1", self.windows)
        _require(all(w % 2 == 0 for w in self.windows[:3]), "windows", "even sizes but for the last stage", self.windows)
        first_map = self.image_size // PATCH_STRIDE
        _require(first_map % self.windows[0] == 0, "windows[0]", f"a divisor of the first map's side {first_map}", self.windows[0])
        _require(self.embed_dim % self.num_heads == 0, "embed_dim", f"a multiple of num_heads {self.num_heads}", self.embed_dim)
        _require(self.d_model % 8 == 0, "d_model", "a multiple of 8", self.d_model)
        _require(self.memory_dim % 4 == 0, "memory_dim", "a multiple of 4", self.memory_dim)
        _require(self.d_model % self.memory_dim == 0, "memory_dim", f"a divisor of d_model {self.d_model}", self.memory_dim)
        inner = self.d_model // self.decoder_attention_downsample
        _require(inner % self.decoder_heads == 0, "decoder_heads", f"a divisor of {inner}", self.decoder_heads)
        blocks = sum(self.stages)
        known = all(0 <= block < blocks for block in self.global_attention_blocks)
        _require(known, "global_attention_blocks", f"indices below {blocks}", self.global_attention_blocks)
        _require(self.num_maskmem >= 2, "num_maskmem", "at least 2", self.num_maskmem)
        _require(self.max_object_pointers >= 2, "max_object_pointers", "at least 2", self.max_object_pointers)
        _require(self.region_scale == 0 or self.region_scale >= 1.5, "region_scale", "0 or at least 1.5", self.region_scale)
        _require(self.region_minimum >= 1, "region_minimum", "at least 1", self.region_minimum)

    @property
    def feature_size(self) -> int:
        """Side of the feature grid, in cells."""
        return self.image_size // FEATURE_STRIDE

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution mask logits, in cells."""
        return self.image_size // MASK_STRIDE

    @property
    def num_mask_tokens(self) -> int:
        """The single mask and the multimask outputs."""
        return self.num_multimask_outputs + 1

    def to_json(self) -> str:
        """One line of JSON, as the metadata of a safetensors file carries it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> MedSAM2Config:
        """The inverse of `to_json`; raises ValueError for text that is not such a config."""
        values: Any = json.loads(text)
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not set(values) <= known:
            unknown = sorted(set(values) - known) if isinstance(values, dict) else values
            got = repr(unknown)[:80]
            raise ValueError(f"expected the sizes of a MedSAM2Config as a JSON object, got {got}; was it written by another version?")
        sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**sizes)


def _expect_sizes(config: MedSAM2Config) -> None:
    """Every value of its field's type and of a size that a machine could hold: the metadata of a file may say anything."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(field.default, float):
            _require(type(value) in (int, float) and 0 <= value <= MAXIMUM_SIZE, field.name, f"a number up to {MAXIMUM_SIZE}", value)
            continue
        several = isinstance(field.default, tuple)
        _require(isinstance(value, tuple) is several, field.name, "a list" if several else "one number", value)
        limit = MAXIMUM_BLOCKS if field.name in _COUNTS else MAXIMUM_SIZE
        sizes = value if several else (value,)
        _require(all(type(size) is int and 0 <= size <= limit for size in sizes), field.name, f"whole numbers up to {limit}", value)


def _require(condition: bool, name: str, expected: str, got: object) -> None:  # noqa: FBT001  read beside its claim
    if not condition:
        raise ValueError(f"{name}: expected {expected}, got {str(got)[:80]}")
