"""The most memory that the process held between two moments."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_HIGH_WATER_MARK = "5"  # proc(5)


def held_bytes(device: torch.device) -> int:
    """What is held now: tensors on a GPU, resident pages of the process on a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


def give_back_free_memory() -> None:
    """Return what the allocators hold for later to the system, so that an earlier cell's memory does not count as this one's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def start_watching(device: torch.device) -> None:
    """Forget earlier peaks."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        CLEAR.write_text(RESET_HIGH_WATER_MARK)


def peak_bytes(device: torch.device) -> int:
    """The peak since `start_watching`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024
