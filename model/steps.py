"""The steps of a propagation behind one interface: as the network is written down, or with every saving that keeps the masks.

`PlainSteps` are the network's own methods, with the reference's order of additions.
`FastSteps` compute the same with less arithmetic, several frames in a batch, and in lower precision where that is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.compilation import fixed_shapes
from model.folded_encoder import FoldedEncoder
from model.mask_choice import DecodedMasks
from model.medsam2 import DecoderPrompts, ImageFeatures, MedSAM2
from model.memory_bank import FrameMemory, Recollection, stack
from model.memory_reader import MemoryReader
from model.precision import Precision, exactly


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracked:
    """The answers and new memories of B objects; the tensors are those of `DecodedMasks`."""

    logits: Tensor  # (B, 1, S/4, S/4) float32
    iou: Tensor  # (B,)
    stability: Tensor  # (B,)
    object_score: Tensor  # (B,)
    pointer: Tensor  # (B, d)
    memories: list[FrameMemory]


class Steps(Protocol):
    """What a propagation asks of the network."""

    @property
    def always_exact(self) -> bool:
        """Whether everything is computed in float32."""

    def encode(self, frames: Tensor, *, exact: bool) -> ImageFeatures:
        """(B, 3, S, S) float32 normalised frames -> features; `exact` asks for float32 whatever the precision."""

    def batch_key(self, recollection: Recollection) -> Hashable:
        """Objects whose recollections have equal keys can be tracked together."""

    def track(self, frames: Sequence[ImageFeatures], rows: Sequence[int], recalled: Sequence[Recollection]) -> Tracked:
        """B objects, each with what it recalls, on U frames; `rows` gives the frame of each object."""

    def remember(self, features: ImageFeatures, logits: Tensor, scores: Tensor, pointers: Tensor) -> list[FrameMemory]:
        """The memories of B objects on a prompted frame: logits (B, 1, S/4, S/4), scores (B,), pointers (B, d)."""


class PlainSteps:
    """The network's own methods, always in float32."""

    def __init__(self, model: MedSAM2) -> None:
        self._model = model

    @property
    def always_exact(self) -> bool:
        """True."""
        return True

    def encode(self, frames: Tensor, *, exact: bool) -> ImageFeatures:
        """As `Steps.encode`."""
        return self._model.encode_image(frames)

    def batch_key(self, recollection: Recollection) -> Hashable:
        """All times must be equal."""
        return recollection.layout

    def track(self, frames: Sequence[ImageFeatures], rows: Sequence[int], recalled: Sequence[Recollection]) -> Tracked:
        """As `Steps.track`."""
        features = ImageFeatures.join(frames).take(rows)
        embedding = self._model.condition_on_memory(features, stack(recalled, self._model.config.d_model))
        decoded = self._model.decode(features, embedding, DecoderPrompts.none(len(rows), embedding.device), multimask=True)
        spatial = self._model.encode_memory(features, decoded.logits, decoded.object_score, binarise=False)
        return _tracked(decoded, _memories(spatial, decoded.pointer))

    def remember(self, features: ImageFeatures, logits: Tensor, scores: Tensor, pointers: Tensor) -> list[FrameMemory]:
        """As `Steps.remember`."""
        return _memories(self._model.encode_memory(features, logits, scores, binarise=True), pointers)


class FastSteps:
    """The folded encoder and the memory reader; the parts whose shapes repeat are compiled where that pays."""

    def __init__(self, model: MedSAM2, device: torch.device, precision: Precision) -> None:
        self._model, self._device, self._precision = model, device, precision
        self._encoder = FoldedEncoder(model)
        self._reader = MemoryReader(model)
        self._grid = model.sam_prompt_encoder.grid_position().detach()
        self._encode, self._read, self._answer = (
            fixed_shapes(step, device) for step in (self._encoder.maps, self._reader.read, self._answer_and_remember)
        )

    @property
    def always_exact(self) -> bool:
        """Whether the precision is float32."""
        return self._precision is Precision.FLOAT32

    def learn_shapes(self, *, learning: bool) -> None:
        """While on, the shapes that are met become those that are compiled."""
        for part in (self._encode, self._read, self._answer):
            part.learning = learning

    def encode(self, frames: Tensor, *, exact: bool) -> ImageFeatures:
        """As `Steps.encode`; features are kept in the precision that they were computed in."""
        if exact or self._precision is Precision.FLOAT32:
            with exactly(self._device):
                return _features(self._encoder.maps(frames) if exact else self._encode(frames))
        with self._precision.autocast(self._device):
            return _as_type(_features(self._encode(frames)), self._precision.dtype)

    def batch_key(self, recollection: Recollection) -> Hashable:
        """Only the counts must be equal: every object brings its own times."""
        return recollection.size

    def track(self, frames: Sequence[ImageFeatures], rows: Sequence[int], recalled: Sequence[Recollection]) -> Tracked:
        """As `Steps.track`."""
        every = ImageFeatures.join([_as_type(one, self._precision.dtype) for one in frames])
        features = every.take(rows)
        with self._precision.autocast(self._device):
            x, keys, values = self._reader.gather(every.embedding, rows, recalled)
            (embedding,) = self._read(x, keys, values)  # (B, d, h, w)
            logits, iou, stability, score, pointer, spatial, own = self._answer(embedding, features.embedding, *features.fine)
        memories = _memories(spatial, pointer, own)
        return Tracked(logits=logits, iou=iou, stability=stability, object_score=score, pointer=pointer, memories=memories)

    def remember(self, features: ImageFeatures, logits: Tensor, scores: Tensor, pointers: Tensor) -> list[FrameMemory]:
        """As `Steps.remember`; the memory of a prompted frame is exact, as its answer is."""
        with exactly(self._device):
            spatial = self._model.encode_memory(features, logits, scores, binarise=True)
        with self._precision.autocast(self._device):
            return _memories(spatial, pointers, self._reader.keys(spatial))

    def _answer_and_remember(self, embedding: Tensor, seen: Tensor, fine0: Tensor, fine1: Tensor) -> tuple[Tensor, ...]:
        """embedding (B, d, h, w) with memory, `seen` (B or 1, d, h, w) without, fine features -> the parts of `Tracked`."""
        features = ImageFeatures(embedding=seen, fine=(fine0, fine1))
        prompts = DecoderPrompts.none(len(embedding), embedding.device)
        decoded = self._model.decode(features, embedding, prompts, multimask=True, grid_position=self._grid)
        spatial = self._model.encode_memory(features, decoded.logits, decoded.object_score, binarise=False)
        figures = (decoded.iou, decoded.stability, decoded.object_score, decoded.pointer)
        return (decoded.logits, *figures, spatial, self._reader.keys(spatial))


def _features(maps: tuple[Tensor, ...]) -> ImageFeatures:
    embedding, fine0, fine1 = maps
    return ImageFeatures(embedding=embedding, fine=(fine0, fine1))


def _as_type(features: ImageFeatures, dtype: torch.dtype) -> ImageFeatures:
    if features.embedding.dtype is dtype:
        return features
    return _features(tuple(x.to(dtype) for x in (features.embedding, *features.fine)))


def _memories(spatial: Tensor, pointers: Tensor, keys: Tensor | None = None) -> list[FrameMemory]:
    return [FrameMemory(spatial=memory, pointer=pointers[i], keys=None if keys is None else keys[i]) for i, memory in enumerate(spatial)]


def _tracked(decoded: DecodedMasks, memories: list[FrameMemory]) -> Tracked:
    return Tracked(
        logits=decoded.logits,
        iou=decoded.iou,
        stability=decoded.stability,
        object_score=decoded.object_score,
        pointer=decoded.pointer,
        memories=memories,
    )
