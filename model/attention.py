"""Attention between two token sequences, with separate projections, optionally rotated by position."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.position_encoding import AxialRotation


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens' width."""

    def __init__(self, channels: int, heads: int, *, inner: int | None = None, key_channels: int | None = None) -> None:
        super().__init__()
        inner = inner or channels
        key_channels = key_channels or channels
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(key_channels, inner)
        self.v_proj = nn.Linear(key_channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, N, channels), k and v (B, M, key_channels) -> (B, N, channels)."""
        return self._attend(self.q_proj(q), self.k_proj(k), self.v_proj(v))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (split_heads(x, self.heads) for x in (q, k, v))  # (B, heads, N, inner / heads)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))  # (B, N, channels)
        return out


class RotaryAttention(Attention):
    """One-head attention over maps: queries and spatial keys are rotated by their place, pointer tokens are not."""

    def __init__(self, channels: int, size: int, *, key_channels: int | None = None) -> None:
        super().__init__(channels, 1, key_channels=key_channels)
        self.rotation = AxialRotation(channels, size)
        self.cells = size * size

    def forward(self, q: Tensor, k: Tensor, v: Tensor, unrotated: int = 0) -> Tensor:
        """As `Attention`, with N = size^2; the last `unrotated` keys (object pointers) carry no place."""
        rotated_q = self.rotation(self.q_proj(q))
        keys = self.k_proj(k)
        spatial = keys.shape[1] - unrotated
        turned = self.rotation(keys[:, :spatial], spatial // self.cells)
        return self._attend(rotated_q, torch.cat((turned, keys[:, spatial:]), dim=1), self.v_proj(v))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C / heads)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


QUERIES_AT_ONCE = 512
"""Queries whose scores lie in memory together on a CPU: for 7,000 keys about 14 MiB, what a last-level cache holds."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One-head attention whose values may be narrower than its keys: q (B, N, d), k (B, M, d), v (B, M, e) -> (B, N, e).

    The fused kernels of a CPU want keys and values of one width; there the queries are taken in blocks instead.
    """
    if q.device.type != "cpu":
        return functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
    q = q * q.shape[-1] ** -0.5
    keys = k.transpose(1, 2)  # (B, d, M)
    out = q.new_empty(*q.shape[:2], v.shape[-1], dtype=v.dtype)
    for item in range(len(q)):
        for begin in range(0, q.shape[1], QUERIES_AT_ONCE):
            block = slice(begin, begin + QUERIES_AT_ONCE)
            out[item, block] = (q[item, block] @ keys[item]).softmax(-1) @ v[item]
    return out
