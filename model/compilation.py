"""Compilation of steps whose shapes are fixed: CUDA graphs on a GPU, and plain torch wherever a compiler or a fixed shape is missing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch.utils._triton import has_triton

LOG = logging.getLogger("medsam2d.model")
Step: TypeAlias = Callable[..., tuple[Tensor, ...]]


class FixedShapes:
    """A step that is compiled for the shapes it met while learning, and runs uncompiled for all others.

    Nothing is hence ever compiled because of a study: its first frames (whose memories are still filling) and unusual numbers of
    objects take the uncompiled path.
    """

    def __init__(self, step: Step, compiled: Step | None) -> None:
        self._step, self._compiled = step, compiled
        self._known: set[object] = set()
        self.learning = False
        """While True, every shape becomes one that is compiled."""

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        shapes = tuple((tuple(x.shape), x.dtype) for x in tensors)
        if self.learning:
            self._known.add(shapes)
        if self._compiled is None or shapes not in self._known:
            return self._step(*tensors)
        try:
            # The result of a CUDA graph lies in the graph's own memory, which its next run overwrites.
            return tuple(x.clone() for x in self._compiled(*tensors))
        except TorchDynamoException as error:
            LOG.warning("a step cannot be compiled here (%s); it runs uncompiled", type(error).__name__)
            self._compiled = None
            return self._step(*tensors)


def fixed_shapes(step: Step, device: torch.device, *, backend: str | None = None) -> FixedShapes:
    """The step, compiled where that pays: on a GPU with Triton and a C compiler. A `backend` of torch.compile is taken on any device."""
    if backend is not None:
        return FixedShapes(step, torch.compile(step, fullgraph=True, dynamic=False, backend=backend))
    if not can_compile(device):
        return FixedShapes(step, None)
    return FixedShapes(step, torch.compile(step, fullgraph=True, dynamic=False, mode="reduce-overhead"))


def can_compile(device: torch.device) -> bool:
    """Whether compiling pays and is possible."""
    return device.type == "cuda" and has_triton() and any(shutil.which(name) for name in ("cc", "gcc", "clang"))
