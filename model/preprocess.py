"""From voxels to what the network sees: intensity windows to uint8, slices to normalised square tensors, pixels to model pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

IMAGE_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, red green blue, for intensities 0..1
IMAGE_STD = (0.229, 0.224, 0.225)
WHITE = 255
MR_PERCENTILES = (0.5, 99.5)  # of the voxels above zero


def window_to_uint8(voxels: NDArray[Any], low: float, high: float, *, reference: bool = False) -> NDArray[np.uint8]:
    """Clip to the window low..high and map it to 0..255, truncating; any shape, any real dtype, same unit as the window.

    The window's own bounds become 0 and 255, so that one tissue has one grey level whatever the volume spans, and a constant volume is
    well defined. With `reference`, the clipped volume's minimum and maximum do instead, as in MedSAM2's scripts.
    Raises ValueError unless low < high and every voxel is finite.
    """
    if not low < high:
        raise ValueError(f"window: expected low < high, got {low}..{high}; give a window of positive width")
    _require_finite(voxels)
    clipped = np.clip(voxels, low, high).astype(np.float64)
    if reference:
        low, high = float(clipped.min()), float(clipped.max())
    return _stretch(clipped, low, high)


def percentiles_to_uint8(voxels: NDArray[Any]) -> NDArray[np.uint8]:
    """The magnetic resonance variant: clip to the 0.5 and 99.5 percentile of the voxels above zero, stretch; voxels of zero stay 0."""
    _require_finite(voxels)
    inside = voxels[voxels > 0]
    if inside.size == 0:
        return np.zeros(voxels.shape, np.uint8)
    low, high = np.percentile(inside, MR_PERCENTILES)
    clipped = np.clip(voxels, low, high).astype(np.float64)
    grey = _stretch(clipped, float(clipped.min()), float(clipped.max()))
    grey[voxels == 0] = 0
    return grey


def normalise_frames(frames: NDArray[np.uint8], size: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 frames (t, row, column) or (t, row, column, 3) -> (t, 3, size, size) float32 on `device`, resized and normalised.

    Resizing is Pillow's bicubic filter on uint8 (with antialiasing when it shrinks); the aspect ratio is not kept. Frames reach the
    device as uint8 and become float32 there, from a table of the 256 grey levels.
    """
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] != 3):
        raise ValueError(f"frames: expected uint8 (t, row, column) or (t, row, column, 3), got {frames.dtype} {frames.shape}")
    grey = np.stack([_resized(frame, size) for frame in frames])  # (t, size, size, 1 or 3) uint8
    index = torch.from_numpy(grey).to(device).permute(3, 0, 1, 2).long()  # (1 or 3, t, size, size)
    levels = _LEVELS.to(device)
    channels = [levels[channel].take(index[min(channel, len(index) - 1)]) for channel in range(3)]
    return torch.stack(channels, dim=1)


def to_model_pixels(points: NDArray[np.float32], frame_size: tuple[int, int], size: int) -> NDArray[np.float32]:
    """Pixel indices (..., 2) of (x, y) in a frame of (rows, columns) -> pixels of the resized frame: p / W * size.

    No half pixel is added here: SAM 2 adds it once, in the prompt encoder, and its weights were trained so.
    """
    rows, columns = frame_size
    share: NDArray[np.float32] = np.divide(points, (columns, rows), dtype=np.float32)
    scaled: NDArray[np.float32] = np.multiply(share, size, dtype=np.float32)
    return scaled


def _resized(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if frame.shape[:2] != (size, size):
        # Pillow resizes each channel by itself, so a grey frame need not be made RGB first.
        frame = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
    return frame.reshape(size, size, -1)


def _normalised_levels() -> Tensor:
    """The normalised value of each grey level for each channel, (3, 256): float64 arithmetic on float32 constants, then float32."""
    mean = np.array(IMAGE_MEAN, np.float32).astype(np.float64)[:, None]
    std = np.array(IMAGE_STD, np.float32).astype(np.float64)[:, None]
    grey = np.arange(WHITE + 1, dtype=np.float64) / WHITE
    levels: NDArray[np.float64] = (grey - mean) / std
    return torch.from_numpy(levels.astype(np.float32))


_LEVELS = _normalised_levels()


def _stretch(clipped: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    if high == low:
        return np.zeros(clipped.shape, np.uint8)
    return ((clipped - low) / (high - low) * WHITE).astype(np.uint8)


def _require_finite(voxels: NDArray[Any]) -> None:
    if not np.isfinite(voxels).all():
        raise ValueError("voxels: expected finite values, got NaN or infinity; replace them before windowing")
