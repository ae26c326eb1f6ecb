"""The mask decoder: image features and prompt tokens become four candidate masks with their predicted quality."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import MedSAM2Config
from model.layers import ChannelNorm, Perceptron
from model.two_way_transformer import TwoWayTransformer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidates:
    """What the decoder says before one mask is chosen; mask 0 is the single mask, the others the multimask outputs."""

    logits: Tensor  # (B, 4, S/4, S/4)
    ious: Tensor  # (B, 4) in 0..1
    tokens: Tensor  # (B, 4, d)
    object_score: Tensor  # (B,) logit, present where > 0


class MaskDecoder(nn.Module):
    """Ravi et al. 2024 (SAM 2): the two-way transformer, upscaling with the fine features, one hypernetwork a mask."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        width, masks = config.d_model, config.num_mask_tokens
        self.transformer = TwoWayTransformer(config)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(masks, width)
        self.obj_score_token = nn.Embedding(1, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(width, width // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(width, width // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(Perceptron((width, width, width, width // 8), functional.relu) for _ in range(masks))
        self.iou_prediction_head = Perceptron((width, width, width, masks), functional.relu)
        self.pred_obj_score_head = Perceptron((width, width, width, 1), functional.relu)

    def forward(self, image: Tensor, image_position: Tensor, sparse: Tensor, fine: tuple[Tensor, Tensor]) -> Candidates:
        """image (B, d, h, w) with the dense prompt added, image_position (1, d, h, w), sparse (B, P, d).

        fine: the frame's features at strides 4 and 8, (B or 1, d/8, S/4, S/4) and (B or 1, d/4, S/8, S/8).
        """
        own = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))  # (2 + masks, d)
        tokens = torch.cat((own.expand(sparse.shape[0], -1, -1), sparse), dim=1)
        tokens, cells = self.transformer(image, image_position, tokens)
        mask_tokens = tokens[:, 2 : 2 + self.mask_tokens.num_embeddings]  # (B, masks, d)
        return Candidates(
            logits=self._masks(mask_tokens, cells.transpose(1, 2).reshape(image.shape), fine),
            ious=self.iou_prediction_head(tokens[:, 1]).sigmoid(),
            tokens=mask_tokens,
            object_score=self.pred_obj_score_head(tokens[:, 0]).squeeze(1),
        )

    def _masks(self, mask_tokens: Tensor, image: Tensor, fine: tuple[Tensor, Tensor]) -> Tensor:
        first, norm, activation, second, last_activation = self.output_upscaling
        x = activation(norm(first(image) + fine[1]))  # (B, d/4, S/8, S/8)
        x = last_activation(second(x) + fine[0])  # (B, d/8, S/4, S/4)
        weights = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)  # (B, masks, d/8)
        masks: Tensor = torch.einsum("bmc,bchw->bmhw", weights, x)
        return masks
