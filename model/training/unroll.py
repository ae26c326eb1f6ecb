"""A batch of clips unrolled as inference does it: the prompted frame, then each frame with the memory of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.mask_choice import DecodedMasks
from model.medsam2 import DecoderPrompts, ImageFeatures, MedSAM2, Memories
from model.preprocess import normalise_frames
from model.training.clips import Clip
from model.training.losses import LossWeights, candidates_loss
from model.training.prompts import box_prompts, click_prompts, with_corrections

BLIND_NOISE = np.float32(0.3)
"""Standard deviation of blind features, about that of an untrained image encoder's."""

PROMPT_KINDS = ("box", "click", "corrected box", "mask")


@dataclass(frozen=True, kw_only=True)
class PromptMix:
    """How often a batch is prompted by each of PROMPT_KINDS (a batch has one kind)."""

    chances: tuple[float, float, float, float] = (0.84, 0.05, 0.06, 0.05)

    def draw(self, rng: np.random.Generator) -> str:
        """One of PROMPT_KINDS."""
        return str(rng.choice(PROMPT_KINDS, p=self.chances))


def encode_clips(model: MedSAM2, clips: Sequence[Clip]) -> ImageFeatures:
    """Features of all frames, clip after clip; frames that several clips share are encoded once."""
    shared = {id(clip.frames): clip.frames for clip in clips}
    frames = np.concatenate(list(shared.values()))  # (clips * t, row, column)
    features = model.encode_image(normalise_frames(frames, model.config.image_size).to(device_of(model)))
    if len(shared) == len(clips):
        return features
    length, places = len(clips[0].frames), list(shared)
    index = torch.tensor([places.index(id(clip.frames)) * length + t for clip in clips for t in range(length)])
    return ImageFeatures(embedding=features.embedding[index], fine=(features.fine[0][index], features.fine[1][index]))


def device_of(model: MedSAM2) -> torch.device:
    """Where the network is."""
    return model.no_mem_embed.device


def blind_features(model: MedSAM2, clips: Sequence[Clip], rng: np.random.Generator) -> ImageFeatures:
    """Noise in place of features: what is then learnt, cheaply, is where prompts and memories say that the object lies."""
    config, count = model.config, sum(len(clip.frames) for clip in clips)
    shapes = (
        (count, config.d_model, config.feature_size, config.feature_size),
        (count, config.d_model // 8, config.mask_size, config.mask_size),
        (count, config.d_model // 4, config.mask_size // 2, config.mask_size // 2),
    )
    drawn = [torch.from_numpy(BLIND_NOISE * rng.standard_normal(shape, dtype=np.float32)).to(device_of(model)) for shape in shapes]
    embedding, fine0, fine1 = drawn
    return ImageFeatures(embedding=embedding, fine=(fine0, fine1))


def clips_loss(
    model: MedSAM2, encoded: ImageFeatures, clips: Sequence[Clip], kind: str, weights: LossWeights, rng: np.random.Generator
) -> Tensor:
    """The mean loss over all frames of a batch of clips of one length and stride, prompted by `kind`; a scalar with gradient."""
    length = len(clips[0].frames)
    truth = torch.from_numpy(np.stack([clip.masks for clip in clips])).float().to(device_of(model))  # (B, t, S, S)
    losses: list[Tensor] = []
    answer, prompted_loss = _prompted(model, _features_at(encoded, 0, length), clips, kind, weights, rng)
    if prompted_loss is not None:
        losses.append(prompted_loss)
    memory = _ClipMemory(model, clips[0].stride)
    memory.add(_features_at(encoded, 0, length), answer, binarise=True)
    for t in range(1, length):
        features = _features_at(encoded, t, length)
        embedding = model.condition_on_memory(features, memory.recall())
        answer = model.decode(features, embedding, DecoderPrompts.none(len(clips), embedding.device), multimask=True)
        losses.append(candidates_loss(answer.candidates, truth[:, t], weights))
        if t < length - 1:
            memory.add(features, answer, binarise=False)
    return torch.stack(losses).mean() if losses else encoded.embedding.sum() * 0.0


def _features_at(encoded: ImageFeatures, t: int, length: int) -> ImageFeatures:
    """Features of frame t of every clip; frames lie clip after clip."""
    every = slice(t, None, length)
    return ImageFeatures(embedding=encoded.embedding[every], fine=(encoded.fine[0][every], encoded.fine[1][every]))


def _prompted(
    model: MedSAM2, features: ImageFeatures, clips: Sequence[Clip], kind: str, weights: LossWeights, rng: np.random.Generator
) -> tuple[DecodedMasks, Tensor | None]:
    """The answer on the prompted frame and its loss; a mask prompt is its own answer and teaches nothing there."""
    masks = [clip.masks[0] for clip in clips]
    truth = torch.from_numpy(np.stack(masks)).float().to(device_of(model))  # (B, S, S)
    if kind == "mask" and len(clips[0].frames) > 1:
        return model.use_mask(features, truth[:, None]), None
    embedding = model.without_memory(features)
    prompts = (click_prompts(masks, rng) if kind == "click" else box_prompts(clips)).to(device_of(model))
    answer = model.decode(features, embedding, prompts, multimask=kind == "click")
    loss = candidates_loss(answer.candidates, truth, weights)
    if kind == "corrected box":
        prompts = with_corrections(prompts, answer.logits, masks, rng).to(device_of(model))
        answer = model.decode(features, embedding, prompts, multimask=False)
        loss = (loss + candidates_loss(answer.candidates, truth, weights)) / 2
    return answer, loss


class _ClipMemory:
    """What the clips of a batch remember; frame 0 is the conditioning frame."""

    def __init__(self, model: MedSAM2, stride: int) -> None:
        self._model = model
        self._stride = stride
        self._spatial: list[Tensor] = []
        self._pointers: list[Tensor] = []

    def add(self, features: ImageFeatures, answer: DecodedMasks, *, binarise: bool) -> None:
        memory = self._model.encode_memory(features, answer.logits, answer.object_score, binarise=binarise)
        self._spatial.append(memory)
        self._pointers.append(answer.pointer)

    def recall(self) -> Memories:
        """Conditioning frame first, then the tracked frames within reach, oldest first; pointers of all."""
        config = self._model.config
        now, reach = len(self._spatial), config.num_maskmem - 1
        tracked = range(max(1, now - reach), now)
        # A wider stride teaches the time scale of longer volumes than the clip.
        offsets = [self._stride * (now - t) / (config.max_object_pointers - 1) for t in range(now)]
        return Memories(
            spatial=torch.stack([self._spatial[t] for t in (0, *tracked)], dim=1),
            slots=(reach, *(now - t - 1 for t in tracked)),
            pointers=torch.stack(self._pointers, dim=1),
            pointer_offsets=tuple(offsets),
        )
