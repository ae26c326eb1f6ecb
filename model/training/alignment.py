"""A head start for a network from scratch: memory attention that begins by looking at the same place in the remembered maps."""

from __future__ import annotations

import torch

from model.attention import RotaryAttention
from model.medsam2 import MedSAM2

FAST_PAIRS = 8
"""Rotating pairs of each axis that turn fast enough to tell neighbouring cells apart."""
STRENGTH = 3.5
"""Bias of queries and keys in those pairs: a neighbouring cell is then looked at about a tenth as much at 128 channels."""


@torch.no_grad()
def look_at_the_same_place(model: MedSAM2) -> None:
    """Add equal biases to the rotated queries and keys of every cross-attention to memory, in place.

    Rotary products of equal vectors are largest where both places agree, so a mask is carried from slice to slice from the first step
    on; without this the alignment itself takes thousands of steps to be learnt. Training is free to undo it.
    """
    for layer in model.memory_attention.layers:
        attention = layer.cross_attn_image
        if isinstance(attention, RotaryAttention):
            half = attention.q_proj.out_features // 2  # x pairs lie in the first half, y pairs in the second
            for start in (0, half):
                fast = slice(start, start + min(2 * FAST_PAIRS, half))
                attention.q_proj.bias[fast] += STRENGTH
                attention.k_proj.bias[fast] += STRENGTH
