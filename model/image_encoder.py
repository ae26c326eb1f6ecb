"""The image encoder: the Hiera trunk makes four maps of a frame, the neck brings them to one width.

Ryali et al. 2023 (Hiera) without decomposed positions; Ravi et al. 2024 (SAM 2) for the neck.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention import split_heads
from model.config import PATCH_STRIDE, MedSAM2Config
from model.layers import Perceptron

NORM_EPS = 1e-6
TOP_DOWN_LEVEL = 2  # the only level that receives the coarser one; finer levels are lateral only


class ImageEncoder(nn.Module):
    """Trunk and neck: a frame to maps at strides 4, 8 and 16."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.neck = Neck([config.embed_dim * 2**stage for stage in range(4)], config.d_model)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """(B, 3, S, S) float32 -> [(B, d, S/4, S/4), (B, d, S/8, S/8), (B, d, S/16, S/16)]."""
        maps: list[Tensor] = self.neck(self.trunk(frames))
        return maps


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """The sizes of one trunk block."""

    width_in: int
    width: int
    heads: int
    window: int  # cells; 0 = the whole map
    pools: bool


class Trunk(nn.Module):
    """Hiera: blocks of windowed attention, queries pooled 2 x 2 where a stage begins."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.map_size = config.image_size // PATCH_STRIDE
        self.patch_embed = PatchEmbedding(config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.embed_dim, *config.pos_embed_background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, config.embed_dim, config.windows[0], config.windows[0]))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_window, std=0.02)
        self.blocks = nn.ModuleList(TrunkBlock(plan, config.trunk_mlp_ratio) for plan in plan_blocks(config))
        ends = torch.tensor(config.stages).cumsum(0) - 1
        self.stage_ends = frozenset(int(end) for end in ends)

    def forward(self, frames: Tensor, position: Tensor | None = None, *, frugal: bool = False) -> list[Tensor]:
        """(B, 3, S, S) -> the four stages' maps, channels first, finest first.

        `position` saves working out `position()` anew; `frugal` leaves out the arithmetic on padding, which rounds otherwise.
        """
        x = self.patch_embed(frames) + (self.position() if position is None else position)  # (B, S/4, S/4, embed_dim)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x, frugal=frugal)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def position(self) -> Tensor:
        """The absolute positions, (1, S/4, S/4, embed_dim): they depend on weights alone, not on the frame."""
        side = self.map_size
        background = functional.interpolate(self.pos_embed, size=(side, side), mode="bicubic", align_corners=False)
        repeats = side // self.pos_embed_window.shape[-1]
        return (background + self.pos_embed_window.tile(1, 1, repeats, repeats)).permute(0, 2, 3, 1)


def plan_blocks(config: MedSAM2Config) -> list[BlockPlan]:
    """The trunk's blocks in order; the first block of a stage keeps the previous stage's window."""
    plans: list[BlockPlan] = []
    for stage, count in enumerate(config.stages):
        for position in range(count):
            starts_stage = stage > 0 and position == 0
            before = stage - 1 if starts_stage else stage
            window = 0 if len(plans) in config.global_attention_blocks else config.windows[before]
            plans.append(
                BlockPlan(
                    width_in=config.embed_dim * 2**before,
                    width=config.embed_dim * 2**stage,
                    heads=config.num_heads * 2**stage,
                    window=window,
                    pools=starts_stage,
                )
            )
    return plans


class PatchEmbedding(nn.Module):
    """Overlapping 7 x 7 patches every 4 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=PATCH_STRIDE, padding=3)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, S/4, S/4, width)."""
        patches: Tensor = self.proj(frames)
        return patches.permute(0, 2, 3, 1)


class TrunkBlock(nn.Module):
    """Pre-normalised windowed attention and perceptron; maps are channels last."""

    def __init__(self, plan: BlockPlan, mlp_ratio: int) -> None:
        super().__init__()
        self.plan = plan
        self.norm1 = nn.LayerNorm(plan.width_in, eps=NORM_EPS)
        self.attn = WindowAttention(plan)
        self.norm2 = nn.LayerNorm(plan.width, eps=NORM_EPS)
        self.mlp = Perceptron((plan.width, plan.width * mlp_ratio, plan.width), functional.gelu)
        if plan.pools:
            self.proj = nn.Linear(plan.width_in, plan.width)

    def forward(self, x: Tensor, *, frugal: bool = False) -> Tensor:
        """(B, H, W, width_in) -> (B, H', W', width), H' = H / 2 where the block pools."""
        y = self.norm1(x)
        # Where the width changes, the shortcut is taken from the normalised map.
        shortcut = pool(self.proj(y)) if self.plan.pools else x
        x = shortcut + self.attn(y, frugal=frugal)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class WindowAttention(nn.Module):
    """Self-attention inside each window; queries are max-pooled where the block pools."""

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.heads, self.pools, self.window = plan.heads, plan.pools, plan.window
        self.qkv = nn.Linear(plan.width_in, 3 * plan.width)
        self.proj = nn.Linear(plan.width, plan.width)

    def forward(self, x: Tensor, *, frugal: bool = False) -> Tensor:
        """(B, H, W, width_in) -> (B, H', W', width), H' = H / 2 where the block pools; see `Trunk.forward` for `frugal`."""
        size = (x.shape[1] // 2, x.shape[2] // 2) if self.pools else (x.shape[1], x.shape[2])
        spare = frugal and self.window > 0 and (x.shape[1] % self.window, x.shape[2] % self.window) != (0, 0)
        if spare:
            # The padding is zero before the projection, so it is the bias behind it: nothing of it need be multiplied.
            windows, grid = to_windows(self.qkv(x), self.window, self.qkv.bias)
        else:
            windows, grid = to_windows(x, self.window) if self.window > 0 else (x, (1, 1))
            windows = self.qkv(windows)
        mixed = self._mix(windows)
        out: Tensor = self.proj(from_windows(mixed, grid, size)) if spare else from_windows(self.proj(mixed), grid, size)
        return out

    def _mix(self, qkv: Tensor) -> Tensor:
        """(n, h, w, 3 * width) -> (n, h', w', width)."""
        q, k, v = qkv.chunk(3, dim=-1)  # (n, h, w, width) each
        if self.pools:
            q = pool(q)
        height, width = q.shape[1:3]
        q, k, v = (split_heads(t.flatten(1, 2), self.heads) for t in (q, k, v))  # (n, heads, tokens, head_dim)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(len(mixed), height, width, -1)


def pool(x: Tensor) -> Tensor:
    """The 2 x 2 maximum of a channels-last map: (B, H, W, C) -> (B, H/2, W/2, C)."""
    return functional.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).permute(0, 2, 3, 1)


def to_windows(x: Tensor, window: int, fill: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
    """Cut (B, H, W, C) into (B * rows * columns, window, window, C); returns the grid (rows, columns) too.

    Maps that the window does not divide are padded with `fill` (C,) or zeros at the bottom and right; the padding is not masked.
    """
    batch, height, width, channels = x.shape
    rows, columns = -(-height // window), -(-width // window)
    if fill is None:
        x = functional.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
    else:
        padded = fill.to(x.dtype).expand(batch, rows * window, columns * window, channels).clone()
        padded[:, :height, :width] = x
        x = padded
    x = x.view(batch, rows, window, columns, window, channels).transpose(2, 3)
    return x.reshape(-1, window, window, channels), (rows, columns)


def from_windows(windows: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `to_windows`, cut to `size` (height, width)."""
    rows, columns = grid
    _, height, width, channels = windows.shape
    x = windows.view(-1, rows, columns, height, width, channels).transpose(2, 3)
    return x.reshape(-1, rows * height, columns * width, channels)[:, : size[0], : size[1]]


class Neck(nn.Module):
    """Brings the trunk's maps to one width; only the remembered level receives the coarser one."""

    def __init__(self, widths: list[int], d_model: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Lateral(width, d_model) for width in reversed(widths))  # coarsest first

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Four maps, finest first -> the three finest at d_model channels; the coarsest only feeds the third."""
        laterals = [conv(x) for conv, x in zip(reversed(self.convs), maps, strict=True)]
        coarse = functional.interpolate(laterals[-1].float(), scale_factor=2.0, mode="nearest")
        laterals[TOP_DOWN_LEVEL] = laterals[TOP_DOWN_LEVEL] + coarse
        return laterals[:-1]


class Lateral(nn.Module):
    """A 1 x 1 convolution to the neck's width."""

    def __init__(self, width: int, d_model: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, d_model, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> (B, d_model, H, W)."""
        out: Tensor = self.conv(x)
        return out
