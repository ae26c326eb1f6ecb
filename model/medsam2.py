"""MedSAM2: the network as pure steps on tensors, the same for inference and for training.

    encode_image -> without_memory (prompted frame) or condition_on_memory (tracked frame) -> decode -> encode_memory

Attribute names are those of the official checkpoints, so that a strict load proves the anatomy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import MASK_STRIDE, MedSAM2Config
from model.image_encoder import ImageEncoder
from model.layers import Perceptron
from model.mask_choice import DecodedMasks, choose_mask
from model.mask_decoder import MaskDecoder
from model.memory_attention import MemoryAttention
from model.memory_encoder import MemoryEncoder
from model.position_encoding import sine_map, sine_of_time
from model.prompt_encoder import LABEL_PADDING, PromptEncoder

MASK_SCALE, MASK_BIAS = 20.0, -10.0  # a probability 0..1 becomes -10..10 for the memory encoder
STORAGE_DTYPE = torch.bfloat16  # memories are rounded to it whatever the precision of the computation


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """What the image encoder keeps of B frames."""

    embedding: Tensor  # (B, d, S/16, S/16)
    fine: tuple[Tensor, Tensor]  # (B, d/8, S/4, S/4) and (B, d/4, S/8, S/8)

    def frame(self, index: int) -> ImageFeatures:
        """The features of one frame of the batch, batch size 1."""
        one = slice(index, index + 1)
        return ImageFeatures(embedding=self.embedding[one], fine=(self.fine[0][one], self.fine[1][one]))

    def cloned(self) -> ImageFeatures:
        """A copy in memory of its own."""
        return ImageFeatures(embedding=self.embedding.clone(), fine=(self.fine[0].clone(), self.fine[1].clone()))

    def take(self, rows: Sequence[int]) -> ImageFeatures:
        """The features for B objects, each on the frame of its row; one frame alone stays one, since it broadcasts."""
        if len(self.embedding) == 1 or list(rows) == list(range(len(self.embedding))):
            return self
        index = torch.tensor(rows, device=self.embedding.device)
        return ImageFeatures(embedding=self.embedding[index], fine=(self.fine[0][index], self.fine[1][index]))

    @classmethod
    def join(cls, frames: Sequence[ImageFeatures]) -> ImageFeatures:
        """Several frames' features as one batch."""
        if len(frames) == 1:
            return frames[0]
        return cls(
            embedding=torch.cat([one.embedding for one in frames]),
            fine=(torch.cat([one.fine[0] for one in frames]), torch.cat([one.fine[1] for one in frames])),
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors hold."""
        return sum(x.nbytes for x in (self.embedding, *self.fine))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderPrompts:
    """The prompts of B objects on one frame, in pixels of the resized frame (`preprocess.to_model_pixels`)."""

    points: Tensor  # (B, P, 2) float32 (x, y); a box is its two corners, first
    labels: Tensor  # (B, P) int64, see prompt_encoder
    mask_logits: Tensor | None = None  # (B, 1, S/4, S/4) fed back or prompted

    @classmethod
    def none(cls, batch: int, device: torch.device) -> DecoderPrompts:
        """No prompt, as on a tracked frame: one padding point."""
        labels = torch.full((batch, 1), LABEL_PADDING, dtype=torch.int64, device=device)
        return cls(points=torch.zeros(batch, 1, 2, device=device), labels=labels)

    def to(self, device: torch.device) -> DecoderPrompts:
        """The same on `device`."""
        mask_logits = None if self.mask_logits is None else self.mask_logits.to(device)
        return DecoderPrompts(points=self.points.to(device), labels=self.labels.to(device), mask_logits=mask_logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memories:
    """What B objects remember when a frame is tracked; all B share one layout."""

    spatial: Tensor  # (B, M, memory_dim, h, w)
    slots: tuple[int, ...]  # M rows of maskmem_tpos_enc: num_maskmem - 1 conditioning frame, distance - 1 for a tracked frame
    pointers: Tensor  # (B, P, d) object pointers, P may be 0
    pointer_offsets: tuple[float, ...]  # P signed distances in frames divided by (min(frames, max_object_pointers) - 1)


class MedSAM2(nn.Module):
    """SAM 2.1 as MedSAM2 configures it; every step is differentiable and has objects (or clips) as its batch."""

    position: Tensor
    memory_position: Tensor

    def __init__(self, config: MedSAM2Config) -> None:
        super().__init__()
        self.config = config
        width, memory = config.d_model, config.memory_dim
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(config.num_maskmem, 1, 1, memory))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, width))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, width))  # in every checkpoint, read by nothing
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, width))
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, memory))
        for table in (self.maskmem_tpos_enc, self.no_mem_embed, self.no_mem_pos_enc, self.no_obj_ptr, self.no_obj_embed_spatial):
            nn.init.trunc_normal_(table, std=0.02)
        self.image_encoder = ImageEncoder(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=MASK_STRIDE, stride=MASK_STRIDE)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.sam_prompt_encoder = PromptEncoder(config)
        self.sam_mask_decoder = MaskDecoder(config)
        self.obj_ptr_proj = Perceptron((width, width, width, width), functional.relu)
        self.obj_ptr_tpos_proj = nn.Linear(width, memory)
        # Derived from the sizes, hence no part of a checkpoint.
        self.register_buffer("position", sine_map(width, config.feature_size), persistent=False)  # (d, h, w)
        self.register_buffer("memory_position", sine_map(memory, config.feature_size), persistent=False)  # (memory_dim, h, w)

    def encode_image(self, frames: Tensor) -> ImageFeatures:
        """(B, 3, S, S) float32 normalised frames -> their features."""
        fine0, fine1, embedding = self.image_encoder(frames)
        decoder = self.sam_mask_decoder
        return ImageFeatures(embedding=embedding, fine=(decoder.conv_s0(fine0), decoder.conv_s1(fine1)))

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """The embedding of a prompted frame, which looks at no memory: (B, d, h, w)."""
        embedding: Tensor = features.embedding + self.no_mem_embed.reshape(1, -1, 1, 1)
        return embedding

    def condition_on_memory(self, features: ImageFeatures, memories: Memories) -> Tensor:
        """The embedding of a tracked frame as B objects remember themselves: (B, d, h, w).

        `features` holds one frame, or one frame for each object.
        """
        batch, width, height, columns = features.embedding.shape
        tokens, positions, pointer_tokens = self._memory_tokens(memories)
        embedding = features.embedding.expand(max(batch, tokens.shape[0]), -1, -1, -1).flatten(2).transpose(1, 2)  # (B, h * w, d)
        position = self.position.flatten(1).T[None]  # (1, h * w, d)
        out: Tensor = self.memory_attention(embedding, position, tokens, positions, pointer_tokens)
        return out.transpose(1, 2).reshape(-1, width, height, columns)

    def decode(
        self,
        features: ImageFeatures,
        embedding: Tensor,
        prompts: DecoderPrompts,
        *,
        multimask: bool,
        grid_position: Tensor | None = None,
    ) -> DecodedMasks:
        """Masks of B objects on a frame; `embedding` (B or 1, d, h, w) comes from without_memory or condition_on_memory.

        multimask: choose among the three multimask outputs (no or one point) rather than the single mask (a box, more points).
        In training mode the single mask is never exchanged for a stabler one. `grid_position` saves working out the prompt encoder's anew.
        """
        sparse, dense = self.sam_prompt_encoder(prompts.points, prompts.labels, prompts.mask_logits)
        grid = self.sam_prompt_encoder.grid_position() if grid_position is None else grid_position
        candidates = self.sam_mask_decoder(embedding + dense, grid, sparse, features.fine)
        chosen = choose_mask(candidates, multimask=multimask, fall_back=not self.training)
        pointer = self.obj_ptr_proj(chosen.pointer_token)
        present = (candidates.object_score > 0)[:, None]
        return chosen.with_pointer(torch.where(present, pointer, self.no_obj_ptr))

    def use_mask(self, features: ImageFeatures, mask: Tensor) -> DecodedMasks:
        """A prompted mask taken as the answer; the decoder only gives the object pointer. mask (B, 1, S, S) of 0 and 1."""
        prompts = DecoderPrompts.none(mask.shape[0], mask.device)
        prompts = dataclasses.replace(prompts, mask_logits=self.mask_downsample(mask))
        decoded = self.decode(features, features.embedding, prompts, multimask=False)
        size = self.config.mask_size
        full = mask * MASK_SCALE + MASK_BIAS
        logits = functional.interpolate(full, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        present = mask.flatten(1).any(1)
        return dataclasses.replace(
            decoded,
            logits=logits,
            iou=torch.ones_like(decoded.iou),
            stability=torch.ones_like(decoded.stability),
            object_score=present * MASK_SCALE + MASK_BIAS,
            pointer=torch.where(present[:, None], decoded.pointer, self.no_obj_ptr),
        )

    def encode_memory(self, features: ImageFeatures, logits: Tensor, object_score: Tensor, *, binarise: bool) -> Tensor:
        """The spatial memory of B objects on a frame, (B, memory_dim, h, w) bfloat16.

        logits (B, 1, S/4, S/4) low-resolution mask logits; object_score (B,) logits; binarise on prompted frames.
        """
        size = self.config.image_size
        full = functional.interpolate(logits.float(), size=(size, size), mode="bilinear", align_corners=False)
        probability = (full > 0).to(full.dtype) if binarise else full.sigmoid()
        # Channels-last features would be convolved in another order of additions than the reference's.
        embedding = features.embedding.contiguous()
        memory: Tensor = self.memory_encoder(embedding, probability * MASK_SCALE + MASK_BIAS)
        absent = (object_score <= 0).to(memory.dtype)[:, None, None, None]
        memory = memory + absent * self.no_obj_embed_spatial[:, :, None, None]
        return memory.to(STORAGE_DTYPE)

    def _memory_tokens(self, memories: Memories) -> tuple[Tensor, Tensor, int]:
        """Memory tokens and their positions, (B, M * h * w + P * d / memory_dim, memory_dim), and the count of pointer tokens."""
        spatial = memories.spatial.flatten(3).transpose(2, 3).flatten(1, 2)  # (B, M * h * w, memory_dim)
        place = self.memory_position.flatten(1).T  # (h * w, memory_dim)
        slots = self.maskmem_tpos_enc[list(memories.slots), 0]  # (M, 1, memory_dim)
        spatial_position = (place + slots).flatten(0, 1)  # (M * h * w, memory_dim)
        split = self.config.d_model // self.config.memory_dim
        batch, count, _ = memories.pointers.shape
        pointers = memories.pointers.reshape(batch, count * split, self.config.memory_dim)  # (B, P * split, memory_dim)
        offsets = torch.tensor(memories.pointer_offsets, dtype=torch.float32, device=place.device)
        time = self.obj_ptr_tpos_proj(sine_of_time(offsets, self.config.d_model)).repeat_interleave(split, dim=0)  # (P * split, memory_dim)
        tokens = torch.cat((spatial.to(pointers.dtype), pointers), dim=1)
        return tokens, torch.cat((spatial_position, time))[None], pointers.shape[1]
