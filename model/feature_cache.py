"""The feature cache: frames are encoded in batches, once each while their features fit a byte budget."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from model.medsam2 import ImageFeatures
from model.preprocess import normalise_frames
from model.steps import Steps

Content: TypeAlias = bytes  # digest of a frame's pixels
Key: TypeAlias = tuple[Content, bool]  # the content, and whether the features are exact


class Frames:
    """The frames of one segmentation, (t, row, column[, 3]) uint8, each known by its content."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self._contents: dict[int, Content] = {}

    def content(self, frame: int) -> Content:
        """The digest of one frame."""
        if frame not in self._contents:
            digest = hashlib.sha256(repr(self.pixels.shape[1:]).encode())
            digest.update(np.ascontiguousarray(self.pixels[frame]).data)
            self._contents[frame] = digest.digest()
        return self._contents[frame]


class FeatureCache:
    """The image encoder behind a cache; frames that no pass will visit again are forgotten first, then those used longest ago."""

    def __init__(self, steps: Steps, image_size: int, device: torch.device, budget_bytes: int) -> None:
        self._steps, self._image_size, self._device, self._budget = steps, image_size, device, budget_bytes
        self._kept: OrderedDict[Key, ImageFeatures] = OrderedDict()  # the first one is forgotten first
        self.held = 0  # bytes
        self.encoded = 0  # frames since the start

    def features(self, frame: NDArray[np.uint8]) -> ImageFeatures:
        """The float32 features of one frame, (row, column) or (row, column, 3) uint8."""
        return self.batch(Frames(frame[None]), [0], exact=True)[0]

    def batch(self, frames: Frames, indices: Sequence[int], *, exact: bool) -> list[ImageFeatures]:
        """The features of several frames; those that are not known are encoded together."""
        keys = [self._find(frames.content(index), exact=exact) for index in indices]
        missing = {key: index for key, index in zip(keys, indices, strict=True) if key not in self._kept}
        known = {key: self._kept[key] for key in keys if key in self._kept}
        if missing:
            known |= zip(missing, self._encode(frames.pixels[list(missing.values())], exact=exact), strict=True)
        for key in keys:
            self._keep(key, known[key])
        return [known[key] for key in keys]

    def knows(self, content: Content) -> bool:
        """Whether a frame needs no encoding."""
        return self._find(content, exact=False) in self._kept

    def release(self, content: Content) -> None:
        """Say that no pass will visit the frame again: it is kept for later calls only while there is room."""
        for key in ((content, False), (content, True)):
            if key in self._kept:
                self._kept.move_to_end(key, last=False)

    def clear(self) -> None:
        """Forget every frame."""
        self._kept.clear()
        self.held = 0

    def _find(self, content: Content, *, exact: bool) -> Key:
        """The key under which the frame's features are, or will be; exact features serve any purpose."""
        precise = (content, True)
        return precise if exact or self._steps.always_exact or precise in self._kept else (content, False)

    def _encode(self, frames: NDArray[np.uint8], *, exact: bool) -> list[ImageFeatures]:
        features = self._steps.encode(normalise_frames(frames, self._image_size, self._device), exact=exact)
        self.encoded += len(frames)
        # A view of one frame would keep the whole batch in memory.
        return [features] if len(frames) == 1 else [features.frame(index).cloned() for index in range(len(frames))]

    def _keep(self, key: Key, features: ImageFeatures) -> None:
        """Keep features as those used last."""
        if key not in self._kept:
            self.held += features.nbytes
        self._kept[key] = features
        self._kept.move_to_end(key)
        while self.held > self._budget:
            _, dropped = self._kept.popitem(last=False)
            self.held -= dropped.nbytes
