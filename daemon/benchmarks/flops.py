"""Floating-point operations: counted in a step as it runs, and the most that this machine does in a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop

from daemon.benchmarks.reference_flow import now
from model.precision import Precision

CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default  # the registry knows only a GPU's
GEMM_SIDE, GEMM_REPEATS = 2048, 5


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up 2 x multiply-add of every matrix product, convolution and attention."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: int = 0

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        count = sdpa_flop if function is CPU_ATTENTION else flop_registry.get(function.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result


def counted(step: Callable[[], object]) -> int:
    """The operations of one run of `step`."""
    with _Counter() as counter:
        step()
    total: int = counter.flops
    return total


def peak_flops_per_second(device: torch.device, precision: Precision) -> float:
    """The speed of a large square matrix product in a precision, the best of several: what no network exceeds."""
    side = GEMM_SIDE if device.type == "cpu" else 4 * GEMM_SIDE
    a, b = (torch.randn(side, side, device=device).to(precision.dtype) for _ in range(2))
    seconds = []
    for _ in range(GEMM_REPEATS):
        begun = now(device)
        torch.mm(a, b)
        seconds.append(float((now(device) - begun)[0]))
    return 2 * side**3 / min(seconds)
