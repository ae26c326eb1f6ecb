"""The deterministic synthetic weights behind the golden outputs: every tensor from the hash of its own name."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EXPECTED_SHA256 = "c5a85d14a238e9f0acfb4003fb1285ad1e37c3f19acdbb68a144e6fa1c1929ba"

_TABLES = {"maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial"}
_EMBEDDINGS = tuple(
    [f"sam_prompt_encoder.{name}" for name in ("point_embeddings", "not_a_point_embed", "no_mask_embed")]
    + [f"sam_mask_decoder.{name}" for name in ("iou_token", "mask_tokens", "obj_score_token")]
)
_NORMS = (
    "sam_mask_decoder.output_upscaling.1.",
    *(f"sam_prompt_encoder.mask_downscaling.{i}." for i in (1, 4)),
    *(f"memory_encoder.mask_downsampler.encoder.{i}." for i in (1, 4, 7, 10)),
)
_TRANSPOSED = ("sam_mask_decoder.output_upscaling.0.", "sam_mask_decoder.output_upscaling.3.")
_OBJECT_SCORE_BIAS = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"
ABSENT_BIAS_SHIFT = -8.0  # makes every object absent


def golden_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The synthetic state for these keys and shapes, float32; ValueError when the recipe's checksum does not come out."""
    state = {key: _tensor(key, shape) for key, shape in shapes.items()}
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].astype("<f4").tobytes())
    if digest.hexdigest() != EXPECTED_SHA256:
        raise ValueError(f"expected weights with SHA-256 {EXPECTED_SHA256}, got {digest.hexdigest()}; the shapes or the recipe differ")
    return {key: torch.from_numpy(value) for key, value in state.items()}


def made_absent(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with an object score that is negative everywhere."""
    return {**state, _OBJECT_SCORE_BIAS: state[_OBJECT_SCORE_BIAS] + ABSENT_BIAS_SHIFT}


def _tensor(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    name = key + "|15" if key.startswith("sam_mask_decoder.") else key
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    uniform = np.random.Generator(np.random.PCG64(seed)).random(math.prod(shape), np.float64).reshape(shape)
    value = _scaled(key, shape, (uniform - 0.5) * math.sqrt(12))
    return _adjusted(key, value).astype(np.float32)


def _scaled(key: str, shape: tuple[int, ...], z: NDArray[np.float64]) -> NDArray[np.float64]:
    leaf = key.rsplit(".", 1)[-1]
    norm = ".norm" in key or key.startswith(_NORMS)
    fan_in = shape[0] if key.startswith(_TRANSPOSED) else math.prod(shape[1:])
    table = (
        (leaf == "positional_encoding_gaussian_matrix", 0.0, 1.0),
        (key in _TABLES, 0.0, 0.2),
        (leaf in {"pos_embed", "pos_embed_window"}, 0.0, 0.1),
        (leaf == "gamma", 0.3, 0.1),
        (key.startswith(_EMBEDDINGS), 0.0, 0.5),
        (norm, 1.0 if leaf == "weight" else 0.0, 0.1),
        (leaf == "bias", 0.0, 0.05),
    )
    for applies, offset, factor in table:
        if applies:
            return offset + factor * z
    return z / math.sqrt(fan_in)


def _adjusted(key: str, value: NDArray[np.float64]) -> NDArray[np.float64]:
    if key == _OBJECT_SCORE_BIAS:
        return value + 4.0
    factors = (
        (key.startswith("sam_mask_decoder.output_hypernetworks_mlps.") and key.endswith(".layers.2.weight"), 8.0),
        (key == "sam_mask_decoder.iou_prediction_head.layers.2.weight", 4.0),
        (key.startswith("memory_attention.") and key.endswith(("cross_attn_image.q_proj.weight", "cross_attn_image.k_proj.weight")), 2.5),
        (key.startswith("memory_attention.") and key.endswith("cross_attn_image.v_proj.weight"), 2.0),
        (key == "obj_ptr_tpos_proj.weight", 4.0),
        (key == "obj_ptr_proj.layers.2.weight", 3.0),
    )
    for applies, factor in factors:
        if applies:
            return value * factor
    return value
