"""Position encodings: sine tables of maps and of time, rotary angles, random Fourier features of points."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TEMPERATURE = 10000.0


def sine_map(channels: int, size: int) -> Tensor:
    """The sine encoding of a size x size map, y channels before x channels: (channels, size, size) float32.

    Positions 1..size are scaled to 2 pi; even channels hold sines and odd ones cosines (Vaswani et al. 2017, in two dimensions).
    """
    half = channels // 2
    position = torch.arange(1, size + 1, dtype=torch.float32)
    position = position / (position[-1] + 1e-6) * 2 * math.pi  # (size,)
    angles = position[:, None] / _divisors(half)  # (size, half)
    waves = torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)  # (size, half)
    along_y = waves.T[:, :, None].expand(half, size, size)
    along_x = waves.T[:, None, :].expand(half, size, size)
    return torch.cat((along_y, along_x))


def sine_of_time(offsets: Tensor, channels: int) -> Tensor:
    """The sine encoding of scaled time offsets, all sines before all cosines: (P,) -> (P, channels)."""
    angles = offsets[:, None] / _divisors(channels // 2).to(offsets.device)  # (P, channels / 2)
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _divisors(count: int) -> Tensor:
    index = torch.arange(count, dtype=torch.float32)
    return TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / count)


class AxialRotation(nn.Module):
    """Rotary position encoding on a square map: the first half of the channel pairs turns with x, the second with y.

    Su et al. 2021 (RoFormer), axial form; the tables are derived from the sizes and are no part of a checkpoint.
    """

    turns: Tensor

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        frequency = 1.0 / TEMPERATURE ** (torch.arange(0, channels, 4).float() / channels)  # (channels / 4,)
        cell = torch.arange(size * size)
        x = (cell % size).float()
        y = torch.div(cell, size, rounding_mode="floor").float()
        angles = torch.cat((torch.outer(x, frequency), torch.outer(y, frequency)), dim=1)  # (size^2, channels / 2)
        unit = torch.polar(torch.ones_like(angles), angles)
        # Kept as real pairs, so that a change of the module's dtype never meets a complex buffer.
        self.register_buffer("turns", torch.view_as_real(unit), persistent=False)  # (size^2, channels / 2, 2)

    def forward(self, x: Tensor, repeats: int = 1) -> Tensor:
        """Rotate (..., repeats * size^2, channels); the table is repeated for each map in the sequence."""
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))  # (..., repeats * size^2, channels / 2)
        turns = torch.view_as_complex(self.turns.float()).repeat(repeats, 1)
        return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


class RandomFourierFeatures(nn.Module):
    """Points in the unit square as sines and cosines of random projections (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, points: Tensor) -> Tensor:
        """(..., 2) points (x, y) in 0..1 -> (..., channels)."""
        angles = 2 * math.pi * ((2 * points - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((angles.sin(), angles.cos()), dim=-1)

    def grid(self, size: int) -> Tensor:
        """The encoding of the cell centres of a size x size map: (1, channels, size, size)."""
        matrix = self.positional_encoding_gaussian_matrix
        centre = (torch.arange(size, device=matrix.device, dtype=matrix.dtype) + 0.5) / size
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        encoded: Tensor = self(torch.stack((x, y), dim=-1))  # (size, size, channels)
        return encoded.permute(2, 0, 1)[None]
