"""The two-way transformer of the mask decoder: tokens and image look at each other in turn."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from model.attention import Attention
from model.config import MedSAM2Config
from model.layers import Perceptron


class TwoWayTransformer(nn.Module):
    """Layers of two-way attention and a last look of the tokens at the image (Kirillov et al. 2023)."""

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(config, first=index == 0) for index in range(config.decoder_depth))
        self.final_attn_token_to_image = _cross_attention(config)
        self.norm_final_attn = nn.LayerNorm(config.d_model)

    def forward(self, image: Tensor, image_position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """image (B, d, h, w), image_position (1, d, h, w), tokens (B, T, d) -> tokens (B, T, d), image (B, h * w, d)."""
        keys = image.flatten(2).transpose(1, 2)  # (B, h * w, d)
        key_position = image_position.flatten(2).transpose(1, 2)  # (1, h * w, d)
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_position)
        queries = queries + self.final_attn_token_to_image(queries + tokens, keys + key_position, keys)
        return self.norm_final_attn(queries), keys


class TwoWayLayer(nn.Module):
    """Self-attention of the tokens, tokens to image, perceptron, image to tokens."""

    def __init__(self, config: MedSAM2Config, *, first: bool) -> None:
        super().__init__()
        width = config.d_model
        self.first = first
        self.self_attn = Attention(width, config.decoder_heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = _cross_attention(config)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Perceptron((width, config.decoder_feedforward, width), functional.relu)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = _cross_attention(config)

    def forward(self, queries: Tensor, keys: Tensor, tokens: Tensor, key_position: Tensor) -> tuple[Tensor, Tensor]:
        """queries and tokens (B, T, d), keys (B, h * w, d), key_position (1, h * w, d) -> new queries and keys."""
        # The first layer's queries are the tokens themselves: no position is added and no residual kept.
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + tokens
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + tokens, keys + key_position, keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + key_position, queries + tokens, queries))
        return queries, keys


def _cross_attention(config: MedSAM2Config) -> Attention:
    return Attention(config.d_model, config.decoder_heads, inner=config.d_model // config.decoder_attention_downsample)
