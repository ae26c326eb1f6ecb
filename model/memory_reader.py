"""The memory attention as inference runs it: each memory is projected once, and values are read at their own width.

Three identities save a quarter of a step without changing what is computed (only the order of rounding):
keys are projected and rotated when a memory is made, and the few numbers that its age adds are kept as a table of seven maps;
attention weights sum to one, so that values can be averaged at the memory's 64 channels and projected to 256 afterwards, together
with the output projection; the first self-attention sees the frame alone, so that all objects on a frame share it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import attend
from model.medsam2 import MedSAM2
from model.memory_attention import INPUT_POSITION_WEIGHT, MemoryAttentionLayer
from model.memory_bank import Recollection
from model.position_encoding import sine_of_time

Affine = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


class MemoryReader:
    """`MedSAM2.condition_on_memory` with less arithmetic; made from a network's weights, which must not change afterwards."""

    def __init__(self, model: MedSAM2) -> None:
        self._model = model
        self._layers = [layer for layer in model.memory_attention.layers if isinstance(layer, MemoryAttentionLayer)]
        crosses = [layer.cross_attn_image for layer in self._layers]
        self._split = model.config.d_model // model.config.memory_dim
        self._place = model.memory_position.flatten(1).T  # (N, memory_dim)
        self._keys: Affine = (torch.cat([x.k_proj.weight.detach() for x in crosses]), torch.cat([x.k_proj.bias.detach() for x in crosses]))
        self._ages = self._age_keys(model.maskmem_tpos_enc.detach().flatten(1))  # (L, slots, N, d)
        self._outputs = [_folded_output(x.v_proj.weight, x.v_proj.bias, x.out_proj.weight, x.out_proj.bias) for x in crosses]
        self._space = torch.empty(0, device=self._place.device)

    def keys(self, spatial: Tensor) -> Tensor:
        """What is looked for in memories (B, memory_dim, h, w), whatever their age: (B, L, N, d)."""
        tokens = spatial.flatten(2).transpose(1, 2).float()  # (B, N, memory_dim)
        return self._rotated(self._split_layers(functional.linear(tokens + self._place, *self._keys)))

    def gather(self, embeddings: Tensor, rows: Sequence[int], recalled: Sequence[Recollection]) -> tuple[Tensor, Tensor, Tensor]:
        """What `read` takes: x (B, N, d), keys (L, B, T, d) and values (B, T, memory_dim).

        embeddings (U, d, h, w) of the frames, `rows` the frame of each object; all recollections have equally many memories and
        pointers. The keys lie in memory that the next call uses again.
        """
        position = self._model.position.flatten(1).T[None]  # (1, N, d)
        x = embeddings.flatten(2).transpose(1, 2) + INPUT_POSITION_WEIGHT * position  # (U, N, d)
        x = _looked_at_itself(self._layers[0], x)
        if len(x) > 1 or len(rows) > 1:
            x = x[torch.tensor(rows, device=x.device)]  # (B, N, d)
        # Memories are stored as bfloat16, which autocast to float16 refuses to put together.
        with torch.autocast(x.device.type, enabled=False):
            return x, *self._assemble(recalled, x.device)

    def read(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor]:
        """The embeddings of B objects as they remember themselves, (B, d, h, w).

        x (B, N, d) behind the first self-attention, keys (L, B, T, d), values (B, T, memory_dim); T counts spatial, then pointer tokens.
        """
        for index, layer in enumerate(self._layers):
            if index > 0:
                x = _looked_at_itself(layer, x)
            cross = layer.cross_attn_image
            queries = cross.rotation(cross.q_proj(layer.norm2(x)))  # (B, N, d)
            x = x + functional.linear(attend(queries, keys[index], values), *self._outputs[index])
            x = x + layer.linear2(functional.relu(layer.linear1(layer.norm3(x))))
        out = self._model.memory_attention.norm(x).transpose(1, 2)  # (B, d, N)
        side = self._model.config.feature_size
        return (out.reshape(len(out), -1, side, side),)

    def _assemble(self, recalled: Sequence[Recollection], device: torch.device) -> tuple[Tensor, Tensor]:
        """All keys (L, B, T, d) and values (B, T, memory_dim), T = M * N spatial tokens, then those of the pointers."""
        pointers, pointer_keys = self._pointer_tokens(recalled, device)  # (B, P * split, memory_dim), (B, L, P * split, d)
        layers, cells, width = recalled[0].keys[0].shape
        count = len(recalled[0].keys) * cells
        keys = self._workspace((layers, len(recalled), count + pointers.shape[1], width), recalled[0].keys[0])
        for row, one in enumerate(recalled):
            for place, (slot, known) in enumerate(zip(one.layout.slots, one.keys, strict=True)):
                torch.add(known, self._ages[:, slot], out=keys[:, row, place * cells : (place + 1) * cells])
        keys[:, :, count:] = pointer_keys.transpose(0, 1)
        spatial = torch.stack([torch.stack(one.spatial) for one in recalled])  # (B, M, memory_dim, h, w)
        tokens = spatial.flatten(3).transpose(2, 3).flatten(1, 2)  # (B, M * N, memory_dim)
        return keys, torch.cat((tokens.to(keys.dtype), pointers.to(keys.dtype)), dim=1)

    def _pointer_tokens(self, recalled: Sequence[Recollection], device: torch.device) -> tuple[Tensor, Tensor]:
        batch, count = len(recalled), len(recalled[0].pointers)
        flat = [pointer for one in recalled for pointer in one.pointers]
        stacked = torch.stack(flat) if flat else self._place.new_zeros(0, self._model.config.d_model)
        tokens = stacked.float().reshape(batch, count * self._split, -1)  # (B, P * split, memory_dim)
        offsets = torch.tensor([one.layout.pointer_offsets for one in recalled], dtype=torch.float32, device=device).reshape(-1)
        time = self._model.obj_ptr_tpos_proj(sine_of_time(offsets, self._model.config.d_model))  # (B * P, memory_dim)
        placed = tokens + time.repeat_interleave(self._split, dim=0).reshape(tokens.shape)
        return tokens, self._split_layers(functional.linear(placed, *self._keys))

    def _age_keys(self, ages: Tensor) -> Tensor:
        """The part of a key that a memory's age adds: (slots, memory_dim) -> (L, slots, N, d)."""
        added = functional.linear(ages, self._keys[0])  # (slots, L * d)
        added = added[:, None].expand(-1, len(self._place), -1)  # (slots, N, L * d)
        return self._rotated(self._split_layers(added)).transpose(0, 1).contiguous().detach()

    def _split_layers(self, x: Tensor) -> Tensor:
        """(B, T, L * d) -> (B, L, T, d)."""
        return x.reshape(*x.shape[:2], len(self._layers), -1).transpose(1, 2)

    def _rotated(self, x: Tensor) -> Tensor:
        """Turn each cell's key by its place; the rotation is the same in every layer."""
        turned: Tensor = self._layers[0].cross_attn_image.rotation(x)
        return turned

    def _workspace(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Memory for `shape` that is used again by every step: fresh pages cost more than what is written into them."""
        need = int(torch.Size(shape).numel())
        if self._space.numel() < need or self._space.dtype != like.dtype:
            self._space = torch.empty(need, dtype=like.dtype, device=like.device)
        return self._space[:need].view(shape)


def _looked_at_itself(layer: MemoryAttentionLayer, x: Tensor) -> Tensor:
    y = layer.norm1(x)
    out: Tensor = x + layer.self_attn(y, y, y)
    return out


def _folded_output(value_weight: Tensor, value_bias: Tensor, out_weight: Tensor, out_bias: Tensor) -> Affine:
    """The output projection after the value projection, multiplied in float64: (d, memory_dim) and (d,)."""
    outer = out_weight.detach().double()
    weight = outer @ value_weight.detach().double()
    bias = outer @ value_bias.detach().double() + out_bias.detach().double()
    return weight.to(torch.float32), bias.to(torch.float32)
