"""Numerical precision of a propagation: what the settings mean on a device, and what is computed in float32 whatever they say."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


class Precision(enum.Enum):
    """The type in which matrices are multiplied; norms, softmax and everything that is compared with a threshold stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of that name."""
        return _DTYPES[self]

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which a step on `device` runs."""
        if self is Precision.FLOAT32:
            return nullcontext()
        return torch.autocast(device.type, self.dtype)


_DTYPES = {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


def choose_precision(setting: str, device: torch.device) -> Precision:
    """The precision of a setting (`auto` or a name): auto is float32 on a CPU, bfloat16 on a GPU that multiplies it, else float16.

    Raises ValueError for another setting.
    """
    if setting != "auto":
        return Precision(setting)
    if device.type != "cuda":
        return Precision.FLOAT32
    return Precision.BFLOAT16 if torch.cuda.is_bf16_supported(including_emulation=False) else Precision.FLOAT16


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Plain float32 inside: no autocast and, on a GPU, no TF32 convolution.

    Prompted frames run so. Which mask answers a box hangs on its stability being above or below 0.98: low precision moves that
    figure by more than a hundredth, and the other mask may be a different object.
    """
    with torch.autocast(device.type, enabled=False), torch.backends.cudnn.flags(allow_tf32=False):
        yield
