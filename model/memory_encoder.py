"""The memory encoder: a frame's features and its mask become the spatial memory of an object."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from model.config import MedSAM2Config
from model.layers import ChannelNorm

DOWNSAMPLER_WIDTHS = (1, 4, 16, 64, 256)  # four steps of stride 2: the mask reaches the feature grid
FUSER_KERNEL = 7


class MemoryEncoder(nn.Module):
    """Fuses the downsampled mask with the features and narrows the result to the memory's width."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(config.d_model)
        self.pix_feat_proj = nn.Conv2d(config.d_model, config.d_model, kernel_size=1)
        self.fuser = Fuser(config)
        self.out_proj = nn.Conv2d(config.d_model, config.memory_dim, kernel_size=1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (B or 1, d, h, w), mask (B, 1, S, S) in -10..10 -> (B, memory_dim, h, w)."""
        fused = self.pix_feat_proj(features) + self.mask_downsampler(mask)
        out: Tensor = self.out_proj(self.fuser(fused))
        return out


class MaskDownsampler(nn.Module):
    """Strided convolutions from the mask at image size to the feature grid."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for width_in, width in pairwise(DOWNSAMPLER_WIDTHS):
            steps += [nn.Conv2d(width_in, width, kernel_size=3, stride=2, padding=1), ChannelNorm(width), nn.GELU()]
        self.encoder = nn.Sequential(*steps, nn.Conv2d(DOWNSAMPLER_WIDTHS[-1], d_model, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, d, S/16, S/16)."""
        out: Tensor = self.encoder(mask)
        return out


class Fuser(nn.Module):
    """ConvNeXt blocks (Liu et al. 2022) over the sum of features and mask."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(config.d_model, config.memory_fuser_ratio) for _ in range(config.memory_fuser_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) -> (B, d, h, w)."""
        for layer in self.layers:
            x = layer(x)
        return x


class FuserBlock(nn.Module):
    """Depth-wise convolution, then a scaled perceptron over the channels."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=FUSER_KERNEL, padding=FUSER_KERNEL // 2, groups=width)
        self.norm = ChannelNorm(width)
        self.pwconv1 = nn.Linear(width, ratio * width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(ratio * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, h, w) -> (B, d, h, w)."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)  # (B, h, w, d)
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out
