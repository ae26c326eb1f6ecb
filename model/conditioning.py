"""Conditioning: the prompts of each object on a frame become an answer there, and the memories that tracking starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.holes import fill_holes
from model.mask_choice import ABSENT_LOGIT, DecodedMasks
from model.medsam2 import DecoderPrompts, ImageFeatures, MedSAM2
from model.memory_bank import FrameMemory
from model.options import PropagationOptions
from model.precision import exactly
from model.preprocess import to_model_pixels
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from model.prompt_encoder import LABEL_BOX_BOTTOM_RIGHT, LABEL_BOX_TOP_LEFT
from model.steps import Steps, Tracked

FEEDBACK_LIMIT = 32.0  # logits of an earlier answer are clamped to it before they are fed back
PLACEHOLDER_SCORE = 10.0  # the reference calls an object without prompt present, and its mask empty
MASK_PROMPT_THRESHOLD = 0.5  # of a mask resized to the image size

Encode = Callable[[int], ImageFeatures]  # frame index -> its features


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """One object on one frame."""

    logits: Tensor  # (1, 1, S/4, S/4) as they are returned, holes filled
    iou: float
    object_score: float  # logit
    stability: float
    is_empty: bool  # no pixel of the object on this frame
    pointer: Tensor  # (d,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConditionedObject:
    """One object with its answer and its memory on each of its conditioning frames, in order of frames."""

    object_id: int
    answers: dict[int, Answer] = dataclasses.field(default_factory=dict)
    memories: dict[int, FrameMemory] = dataclasses.field(default_factory=dict)


def answers_of(decoded: DecodedMasks | Tracked, logits: Tensor) -> list[Answer]:
    """The batch of a decoding, one answer an object; `logits` as they are to be returned."""
    pixels = (logits > 0).flatten(1).any(1)  # (B,)
    # All figures come from the device at once: each question to it waits for everything that it has yet to do.
    figures = torch.stack([x.float() for x in (decoded.iou, decoded.object_score, decoded.stability, pixels)]).T.tolist()
    return [
        Answer(
            logits=logits[i : i + 1],
            iou=iou,
            object_score=score,
            stability=stability,
            is_empty=score <= 0 or not pixel,
            pointer=decoded.pointer[i],
        )
        for i, (iou, score, stability, pixel) in enumerate(figures)
    ]


class Conditioner:
    """Answers prompts without any memory, as the first thing that is known of an object; always in float32 (`precision.exactly`)."""

    def __init__(self, model: MedSAM2, steps: Steps, encode: Encode, frame_size: tuple[int, int], options: PropagationOptions) -> None:
        """`encode` gives float32 features."""
        self._model, self._steps, self._encode, self._frame_size, self._options = model, steps, encode, frame_size, options
        self._device = model.no_mem_embed.device

    def condition(self, prompts: Sequence[Prompt]) -> list[ConditionedObject]:
        """All objects, in the order of their first prompt."""
        objects = [ConditionedObject(object_id=key) for key in dict.fromkeys(prompt.object_id for prompt in prompts)]
        for frame in sorted({prompt.frame for prompt in prompts}):
            answered = []
            for one in objects:
                own = [prompt for prompt in prompts if prompt.object_id == one.object_id and prompt.frame == frame]
                if own or self._options.reference:
                    with exactly(self._device):
                        one.answers[frame] = self._answer(frame, own) if own else self._placeholder()
                    answered.append(one)
            self._remember(frame, answered)
        return objects

    def _answer(self, frame: int, prompts: Iterable[Prompt]) -> Answer:
        features = self._encode(frame)
        points: list[tuple[float, float]] = []
        labels: list[int] = []
        answer: Answer | None = None
        for prompt in prompts:
            if not isinstance(prompt, PointPrompt):
                points, labels = [], []
                # A box sent again starts anew; the reference feeds it with the previous answer.
                answer = answer if self._options.reference else None
            if isinstance(prompt, MaskPrompt):
                answer = self._finish(self._model.use_mask(features, self._mask(prompt)))
                continue
            more_points, more_labels = _corners(prompt) if isinstance(prompt, BoxPrompt) else (prompt.points, prompt.labels)
            points, labels = [*points, *more_points], [*labels, *more_labels]
            decoder_prompts = self._decoder_prompts(points, labels, answer)
            embedding = self._model.without_memory(features)
            answer = self._finish(self._model.decode(features, embedding, decoder_prompts, multimask=len(points) <= 1))
        if answer is None:
            raise ValueError("prompts: expected at least one on a conditioning frame, got none")
        return answer

    def _decoder_prompts(self, points: list[tuple[float, float]], labels: list[int], previous: Answer | None) -> DecoderPrompts:
        pixels = to_model_pixels(np.array(points, np.float32), self._frame_size, self._model.config.image_size)
        return DecoderPrompts(
            points=torch.from_numpy(pixels)[None].to(self._device),
            labels=torch.tensor([labels], dtype=torch.int64, device=self._device),
            mask_logits=None if previous is None else previous.logits.clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT),
        )

    def _mask(self, prompt: MaskPrompt) -> Tensor:
        size = self._model.config.image_size
        mask = torch.from_numpy(prompt.mask.astype(np.float32))[None, None].to(self._device)
        if prompt.mask.shape != (size, size):
            mask = functional.interpolate(mask, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        return (mask >= MASK_PROMPT_THRESHOLD).float()

    def _finish(self, decoded: DecodedMasks) -> Answer:
        return answers_of(decoded, fill_holes(decoded.logits, self._options.hole_filling_area))[0]

    def _placeholder(self) -> Answer:
        size = self._model.config.mask_size
        return Answer(
            logits=torch.full((1, 1, size, size), ABSENT_LOGIT, device=self._device),
            iou=float("nan"),
            object_score=PLACEHOLDER_SCORE,
            stability=float("nan"),
            is_empty=True,
            pointer=self._model.no_obj_ptr[0],
        )

    def _remember(self, frame: int, objects: Sequence[ConditionedObject]) -> None:
        answers = [one.answers[frame] for one in objects]
        logits = torch.cat([answer.logits for answer in answers])  # (B, 1, S/4, S/4)
        scores = torch.tensor([answer.object_score for answer in answers], device=self._device)
        pointers = torch.stack([answer.pointer for answer in answers])  # (B, d)
        for one, memory in zip(objects, self._steps.remember(self._encode(frame), logits, scores, pointers), strict=True):
            one.memories[frame] = memory


def _corners(box: BoxPrompt) -> tuple[tuple[tuple[float, float], ...], tuple[int, ...]]:
    return ((box.left, box.top), (box.right, box.bottom)), (LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT)
