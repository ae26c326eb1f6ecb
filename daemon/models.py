"""Warm models: each weights name is loaded once, verified against its SHA-256, and kept resident."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch

from daemon.config import Config
from daemon.errors import ConfigError
from daemon.weights import WeightsBook, WeightsEntry, book_of
from model.checkpoint import load_model
from model.segmenter import Segmenter

LOG = logging.getLogger("medsam2d.models")


@dataclass(kw_only=True)
class ResidentModels:
    """Segmenters by weights name; `default` is the name that a rule without one means."""

    book: WeightsBook
    default: str
    device: str
    """`auto`, `cpu` or `cuda:N`, as configured."""
    _resident: dict[str, tuple[Segmenter, str]] = field(default_factory=dict)

    def segmenter(self, weights: str | None) -> Segmenter:
        """Return the resident segmenter of a weights name, loading it at its first use.

        Raises `UnknownWeights`, `UntrustedWeights` or `model.errors.CheckpointError`.
        """
        return self._load(weights or self.default)[0]

    def sha256(self, weights: str | None) -> str:
        """Return the SHA-256 of the weights file behind a name."""
        return self._load(weights or self.default)[1]

    def _load(self, name: str) -> tuple[Segmenter, str]:
        if name not in self._resident:
            entry = self.book.find(name)
            self._resident[name] = _load_segmenter(entry, choose_device(self.device))
        return self._resident[name]


def resident_models(settings: Config, *, default: str | None = None, device: str | None = None) -> ResidentModels:
    """Return the models of a configuration; `default` and `device` override its settings. Raises `ConfigError`."""
    if settings.worker.threads is not None:
        torch.set_num_threads(settings.worker.threads)
    choose_device(device or settings.worker.device)
    return ResidentModels(
        book=book_of(settings), default=default or settings.worker.default_weights, device=device or settings.worker.device
    )


def choose_device(setting: str) -> torch.device:
    """Return the torch device of a setting; `auto` takes the first CUDA device, else the CPU.

    Raises `ConfigError` for a device that this machine lacks.
    """
    if setting == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
    except RuntimeError as error:
        raise ConfigError(f"device {setting!r}: expected auto, cpu or cuda:N ({error})") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {setting!r}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use; "
            "set `worker.device: auto` or cpu, or install the driver and the CUDA build of torch"
        )
    return device


def _load_segmenter(entry: WeightsEntry, device: torch.device) -> tuple[Segmenter, str]:
    loaded = load_model(entry.file, expected_sha256=entry.sha256)
    LOG.info("weights %s (sha256 %s) on %s", entry.name, loaded.sha256[:12], device)
    return Segmenter(loaded.model, device, weights_id=entry.name), loaded.sha256
