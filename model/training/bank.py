"""A bank of training phantoms on disk: windowed frames and label maps in two memory-mapped arrays, made once by background processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.preprocess import window_to_uint8
from model.training.phantoms import make_phantom, require_training_seed
from model.training.volumes import LabelledVolume

ABDOMEN_WINDOW_HU = (-160.0, 240.0)
"""The window that demonstrations use; the bank varies it by up to 40 HU at either end."""


@dataclass(frozen=True, kw_only=True)
class PhantomBank:
    """`frames` and `labels`, both (phantom, k, j, i) uint8; label n > 0 is organ n of that phantom."""

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames)

    def volumes(self) -> Sequence[LabelledVolume]:
        """Every phantom; its organs are numbered in the order of their making."""
        return [
            LabelledVolume(
                frames=frames,
                labels=labels,
                structures={f"organ {value}": value for value in range(1, int(labels.max()) + 1)},
                case=f"phantom {index}",
            )
            for index, (frames, labels) in enumerate(zip(self.frames, self.labels, strict=True))
        ]


def open_bank(folder: Path, *, count: int, shape: tuple[int, int, int], first_seed: int, processes: int = 1) -> PhantomBank:
    """The bank in `folder`, made first when it is absent: phantoms `first_seed` .. `first_seed + count - 1`, each of `shape` (k, j, i)."""
    require_training_seed(first_seed)
    frames_path, labels_path = folder / "frames.npy", folder / "labels.npy"
    if not labels_path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        frames = np.lib.format.open_memmap(frames_path, mode="w+", dtype=np.uint8, shape=(count, *shape))
        labels = np.zeros((count, *shape), dtype=np.uint8)
        with ProcessPoolExecutor(max_workers=processes) as pool:
            made = pool.map(_windowed_phantom, range(first_seed, first_seed + count), [shape] * count)
            for index, (frame_stack, label_map) in enumerate(made):
                frames[index], labels[index] = frame_stack, label_map
        frames.flush()
        np.save(labels_path, labels)
    bank = PhantomBank(frames=np.load(frames_path, mmap_mode="r"), labels=np.load(labels_path, mmap_mode="r"))
    if bank.frames.shape != (count, *shape):
        msg = f"expected a bank of shape {(count, *shape)} in {folder}, got {bank.frames.shape}: remove the folder or name another"
        raise ValueError(msg)
    return bank


def _windowed_phantom(seed: int, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    phantom = make_phantom(seed, shape)
    rng = np.random.default_rng([seed, 22])
    low = ABDOMEN_WINDOW_HU[0] + rng.uniform(-40, 40)
    high = ABDOMEN_WINDOW_HU[1] + rng.uniform(-40, 40)
    labels = np.zeros(shape, dtype=np.uint8)
    for n, mask in enumerate(phantom.masks.values(), start=1):
        labels[mask] = n
    return window_to_uint8(phantom.voxels_hu, low, high), labels
