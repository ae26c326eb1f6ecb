"""The prompt encoder: points (a box is two of them) become sparse tokens, a mask prompt becomes a dense map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import MedSAM2Config
from model.layers import ChannelNorm
from model.position_encoding import RandomFourierFeatures

# Labels of a point. A box is its two corners, given before any other point.
LABEL_PADDING = -1
LABEL_NEGATIVE = 0
LABEL_POSITIVE = 1
LABEL_BOX_TOP_LEFT = 2
LABEL_BOX_BOTTOM_RIGHT = 3
POINT_LABELS = 4


class PromptEncoder(nn.Module):
    """Kirillov et al. 2023 (Segment Anything), section A: points by Fourier features, masks by strided convolutions."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        width, channels = config.d_model, config.mask_prompt_channels
        self.image_size, self.feature_size = config.image_size, config.feature_size
        self.pe_layer = RandomFourierFeatures(width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(POINT_LABELS))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, channels // 4, kernel_size=2, stride=2),
            ChannelNorm(channels // 4),
            nn.GELU(),
            nn.Conv2d(channels // 4, channels, kernel_size=2, stride=2),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, points: Tensor, labels: Tensor, mask_logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sparse tokens (B, P + 1, d) and the dense map (B, d, h, w).

        points (B, P, 2) are (x, y) in pixels of the resized frame, labels (B, P) int; mask_logits (B, 1, 4h, 4w) or None.
        """
        return self._sparse(points, labels), self._dense(mask_logits, points.shape[0])

    def grid_position(self) -> Tensor:
        """The encoding of the feature grid itself: (1, d, h, w)."""
        return self.pe_layer.grid(self.feature_size)

    def _sparse(self, points: Tensor, labels: Tensor) -> Tensor:
        # Half a pixel leads from an index to the centre of its pixel; one padding point always closes the list.
        place = (points + 0.5) / self.image_size
        encoded = self.pe_layer(place)  # (B, P, d)
        table = torch.cat([embedding(labels.new_zeros(1)) for embedding in self.point_embeddings])  # (labels, d)
        padding = (labels == LABEL_PADDING)[..., None]
        tokens = torch.where(padding, self.not_a_point_embed.weight, encoded + table[labels.clamp(min=0)])
        closing = self.not_a_point_embed.weight.expand(points.shape[0], 1, -1)
        return torch.cat((tokens, closing), dim=1)

    def _dense(self, mask_logits: Tensor | None, batch: int) -> Tensor:
        if mask_logits is not None:
            dense: Tensor = self.mask_downscaling(mask_logits)
            return dense
        return self.no_mask_embed.weight[:, :, None, None].expand(batch, -1, self.feature_size, self.feature_size)
