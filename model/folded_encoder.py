"""The image encoder as inference runs it: neck and decoder's first convolutions folded into one linear map a level.

The two finest levels of the neck are read by nothing but a 1 x 1 convolution of the mask decoder. Two linear maps in a row are
one, so 96 channels become 32 at once instead of by way of 256; positions of the trunk, which depend on weights alone, are
worked out once; and the padding of windows is not multiplied. All three are exact but for the order of rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.image_encoder import Lateral
from model.medsam2 import MedSAM2

Affine = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


class FoldedEncoder:
    """`MedSAM2.encode_image` with less arithmetic; made from a network's weights, which must not change afterwards."""

    def __init__(self, model: MedSAM2) -> None:
        encoder, decoder = model.image_encoder, model.sam_mask_decoder
        laterals = [lateral.conv for lateral in encoder.neck.convs if isinstance(lateral, Lateral)]
        coarsest, coarse, middle, finest = laterals  # in the neck's own order
        self._trunk = encoder.trunk
        self._position = encoder.trunk.position().detach()  # (1, S/4, S/4, embed_dim)
        self._finest = _folded(decoder.conv_s0, finest)
        self._middle = _folded(decoder.conv_s1, middle)
        self._coarse = _affine(coarse)
        self._coarsest = _affine(coarsest)

    def maps(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) float32 normalised frames -> embedding and both fine maps, as `ImageFeatures` names them."""
        maps = [x.permute(0, 2, 3, 1) for x in self._trunk(frames, self._position, frugal=True)]  # channels last, as the trunk made them
        coarse = _planes(maps[2], self._coarse)  # (B, d, S/16, S/16)
        above = functional.interpolate(_planes(maps[3], self._coarsest), scale_factor=2.0, mode="nearest")
        finest, middle = _planes(maps[0], self._finest), _planes(maps[1], self._middle)
        return (coarse + above).contiguous(), finest.contiguous(), middle.contiguous()


def _planes(x: Tensor, affine: Affine) -> Tensor:
    """(B, H, W, in) -> (B, out, H, W)."""
    return functional.linear(x, *affine).permute(0, 3, 1, 2)


def _affine(conv: nn.Conv2d) -> Affine:
    bias = conv.bias if conv.bias is not None else conv.weight.new_zeros(conv.out_channels)
    return conv.weight.detach().flatten(1), bias.detach()


def _folded(outer: nn.Conv2d, inner: nn.Conv2d) -> Affine:
    """The 1 x 1 convolution `outer` after `inner`, multiplied in float64."""
    (outer_weight, outer_bias), (inner_weight, inner_bias) = _affine(outer), _affine(inner)
    weight = outer_weight.double() @ inner_weight.double()
    bias = outer_weight.double() @ inner_bias.double() + outer_bias.double()
    return weight.to(torch.float32), bias.to(torch.float32)
