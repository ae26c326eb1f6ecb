"""Warm models: each weights name is loaded once, verified against its SHA-256, and kept resident while there is room."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

import torch

from daemon.config import Config
from daemon.errors import ConfigError
from daemon.host_memory import keep_freed_tensors
from daemon.weights import WeightsBook, WeightsEntry, book_of
from model.checkpoint import LoadedModel, load_model
from model.precision import Precision, choose_precision
from model.segmenter import Segmenter

LOG = logging.getLogger("medsam2d.models")


@dataclass(kw_only=True)
class ResidentModels:
    """Segmenters by weights name, the most recently used ones; `default` is the name that a rule without one means."""

    book: WeightsBook
    default: str
    device: str
    """`auto`, `cpu` or `cuda:N`, as configured."""
    precision: str = "auto"
    """`auto` or the name of a `model.precision.Precision`."""
    limit: int = 2
    """How many stay resident; one that is needed again later is loaded again."""
    _resident: OrderedDict[str, Segmenter] = field(default_factory=OrderedDict)
    _hashes: dict[str, str] = field(default_factory=dict)

    def segmenter(self, weights: str | None) -> Segmenter:
        """Return the resident segmenter of a weights name, loading it at its first use.

        Raises `UnknownWeights`, `UntrustedWeights` or `model.errors.CheckpointError`.
        """
        name = weights or self.default
        if name not in self._resident:
            self._make_room(self.limit - 1)
            self._resident[name] = self._load(self.book.find(name))
        self._resident.move_to_end(name)
        return self._resident[name]

    def sha256(self, weights: str | None) -> str:
        """Return the SHA-256 of the weights file behind a name."""
        name = weights or self.default
        if name not in self._hashes:
            self.segmenter(name)
        return self._hashes[name]

    def warm_up(self) -> None:
        """Load the default weights and take them through every kind of step once. Raises what `segmenter` raises."""
        self.segmenter(None).warm_up()

    def _load(self, entry: WeightsEntry) -> Segmenter:
        device = choose_device(self.device)
        precision = choose_precision(self.precision, device)
        loaded = load_model(entry.file, expected_sha256=entry.sha256)
        self._hashes[entry.name] = loaded.sha256
        try:
            segmenter = Segmenter(loaded.model, device, weights_id=entry.name, precision=precision)
        except torch.OutOfMemoryError:
            segmenter = self._load_without_neighbours(entry, loaded, device, precision)
        LOG.info("weights %s (sha256 %s) on %s in %s", entry.name, loaded.sha256[:12], device, precision.value)
        return segmenter

    def _load_without_neighbours(self, entry: WeightsEntry, loaded: LoadedModel, device: torch.device, precision: Precision) -> Segmenter:
        LOG.warning("weights %s do not fit beside %d others on %s; those are given up", entry.name, len(self._resident), device)
        self._make_room(0)
        try:
            return Segmenter(loaded.model, device, weights_id=entry.name, precision=precision)
        except torch.OutOfMemoryError:
            LOG.warning("weights %s do not fit on %s at all; they run on the CPU", entry.name, device)
            return Segmenter(loaded.model, "cpu", weights_id=entry.name)

    def _make_room(self, places: int) -> None:
        """Give up the segmenters used longest ago until so many are left."""
        while len(self._resident) > max(places, 0):
            name, _ = self._resident.popitem(last=False)
            LOG.info("weights %s are no longer resident", name)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def resident_models(settings: Config, *, default: str | None = None, device: str | None = None) -> ResidentModels:
    """Return the models of a configuration; `default` and `device` override its settings. Raises `ConfigError`."""
    keep_freed_tensors()
    if settings.worker.threads is not None:
        torch.set_num_threads(settings.worker.threads)
    choose_device(device or settings.worker.device)
    return ResidentModels(
        book=book_of(settings),
        default=default or settings.worker.default_weights,
        device=device or settings.worker.device,
        precision=settings.worker.precision,
        limit=settings.worker.resident_models,
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
