"""The feature cache: every frame is encoded once while its features fit a byte budget."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray

from model.medsam2 import ImageFeatures, MedSAM2
from model.preprocess import normalise_frames


class FeatureCache:
    """The image encoder behind a cache that forgets the least recently used frame; frames are known by their content."""

    def __init__(self, model: MedSAM2, device: torch.device, budget_bytes: int) -> None:
        self._model, self._device, self._budget = model, device, budget_bytes
        self._kept: OrderedDict[bytes, ImageFeatures] = OrderedDict()
        self._held = 0
        self.encoded = 0  # frames since the start

    def features(self, frame: NDArray[np.uint8]) -> ImageFeatures:
        """The features of one frame, (row, column) or (row, column, 3) uint8."""
        key = _content(frame)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        pixels = normalise_frames(frame[None], self._model.config.image_size).to(self._device)
        features = self._model.encode_image(pixels)
        self.encoded += 1
        self._keep(key, features)
        return features

    def clear(self) -> None:
        """Forget every frame."""
        self._kept.clear()
        self._held = 0

    def _keep(self, key: bytes, features: ImageFeatures) -> None:
        self._kept[key] = features
        self._held += features.nbytes
        while self._held > self._budget:
            _, dropped = self._kept.popitem(last=False)
            self._held -= dropped.nbytes


def _content(frame: NDArray[np.uint8]) -> bytes:
    digest = hashlib.blake2b(repr(frame.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(frame).data)
    return digest.digest()
