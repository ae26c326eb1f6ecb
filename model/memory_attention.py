"""Memory attention: a frame's features look at themselves, then at what is remembered of the object."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from model.attention import RotaryAttention
from model.config import MedSAM2Config

INPUT_POSITION_WEIGHT = 0.1  # share of the frame's sine encoding that is added to the input


class MemoryAttention(nn.Module):
    """A stack of self-attention, cross-attention to the memory, and feed-forward."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_attention_layers))
        self.norm = nn.LayerNorm(config.d_model)

    def forward(self, features: Tensor, position: Tensor, memory: Tensor, memory_position: Tensor, pointer_tokens: int) -> Tensor:
        """features and position (B or 1, N, d), memory and memory_position (B, M, memory_dim) -> (B, N, d).

        The last `pointer_tokens` of the M memory tokens are object pointers, the others whole maps of N cells.
        """
        x = features + INPUT_POSITION_WEIGHT * position
        keys = memory + memory_position
        for layer in self.layers:
            x = layer(x, keys, memory, pointer_tokens)
        out: Tensor = self.norm(x)
        return out


class MemoryAttentionLayer(nn.Module):
    """One pre-normalised layer; positions enter by rotation and in the memory's keys."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = RotaryAttention(width, config.feature_size)
        self.cross_attn_image = RotaryAttention(width, config.feature_size, key_channels=config.memory_dim)
        self.linear1 = nn.Linear(width, config.memory_attention_feedforward)
        self.linear2 = nn.Linear(config.memory_attention_feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, pointer_tokens: int) -> Tensor:
        """x (B, N, d), keys and values (B, M, memory_dim) -> (B, N, d)."""
        y = self.norm1(x)
        x = x + self.self_attn(y, y, y)
        x = x + self.cross_attn_image(self.norm2(x), keys, values, pointer_tokens)
        out: Tensor = x + self.linear2(functional.relu(self.linear1(self.norm3(x))))
        return out
