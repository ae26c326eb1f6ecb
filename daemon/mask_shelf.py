"""The mask shelf: what the model made, kept on disk under a hash of everything that decided it.

It is the checkpoint between inference and the objects that are written of it: a crash after inference, or a corrected header,
finds the masks here and computes nothing again. Files are written once, durable before they count, and may be removed at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daemon.results import ResultConflict, Results
from dicom_io.volume import Volume
from model.options import PropagationOptions
from model.prompt import MaskPrompt, Prompt
from model.result import ObjectResult, StopReason, Stops
from rules.prompts.generate import PromptedObject

LOG = logging.getLogger("medsam2d.masks")
FIGURES = ("iou", "object_score_logit", "stability", "agreement")
"""One number a frame; `agreement` may be absent."""
DEFAULT_OPTIONS = PropagationOptions()
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
DIGEST_BYTES = hashlib.sha256().digest_size
"""The SHA-256 of everything before it ends each file."""


@dataclass(frozen=True, kw_only=True)
class KeptMasks:
    """The objects that one inference found, in the order of their prompts, and how they were made."""

    objects: tuple[ObjectResult, ...]
    weights: tuple[tuple[str, str], ...]
    """(weights id, SHA-256) of every model that took part."""
    device: str
    precision: str
    batch: str = ""
    """How many frames were encoded, and how many objects tracked, at once."""
    second_looks: Mapping[int, float] = field(default_factory=dict)
    """Object id -> Dice with the result of moved prompts, of those whose target asks for it."""


class MaskShelf:
    """A folder of masks by key."""

    def __init__(self, folder: Path) -> None:
        self._files = Results(folder)

    def sweep(self) -> int:
        """Remove what killed writers left on the shelf, and return how many files went."""
        return self._files.sweep()

    def find(self, key: str) -> KeptMasks | None:
        """Return what was kept under `key`; None if nothing was, or if it cannot be read any longer."""
        path = self._files.folder / f"{key}.npz"
        if not path.exists():
            return None
        try:
            return _decoded(path)
        except UNREADABLE as error:
            LOG.warning("%s: the kept masks cannot be read (%s); they are computed again", path, type(error).__name__)
            path.unlink(missing_ok=True)
            return None

    def keep(self, key: str, masks: KeptMasks) -> None:
        """Keep masks under `key`; when this returns they survive a power cut."""
        try:
            self._files.write(f"{key}.npz", _encoded(masks))
        except ResultConflict:  # another device's rounding, for the same content: the first stays
            LOG.info("masks %s: kept already", key)


def inference_key(volume: Volume, prompted: Sequence[PromptedObject], weights: Sequence[str], options: PropagationOptions) -> str:
    """Return the SHA-256 over everything that decides the masks: instances, voxels, geometry, targets, prompts, weights and options.

    `weights` are the SHA-256 of each object's. The patient's and the study's attributes are not in it: a correction of them
    changes no mask. Nor is the version of the software: an upgrade alone recomputes nothing, also where it adds a setting.
    """
    digest = hashlib.sha256()
    for text in sorted(source.sop_instance_uid for source in volume.sent):
        digest.update(text.encode() + b"\n")
    digest.update(np.ascontiguousarray(volume.voxels).tobytes())
    digest.update(np.ascontiguousarray(volume.affine).tobytes())
    changed = {name: value for name, value in asdict(options).items() if value != getattr(DEFAULT_OPTIONS, name)}
    digest.update(json.dumps(changed, sort_keys=True).encode())
    for item, weight in zip(prompted, weights, strict=True):
        target = item.target.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        digest.update(json.dumps([item.object_id, item.label, weight, target], sort_keys=True).encode())
        for prompt in item.prompts:
            digest.update(canonical(prompt))
    return digest.hexdigest()


def canonical(prompt: Prompt) -> bytes:
    """Return the bytes that stand for a prompt in a hash."""
    if isinstance(prompt, MaskPrompt):
        return f"mask {prompt.object_id} {prompt.frame} {prompt.mask.shape}".encode() + np.packbits(prompt.mask).tobytes()
    return repr(prompt).encode()


def _encoded(masks: KeptMasks) -> bytes:
    described = {
        "objects": [
            {
                "object_id": item.object_id,
                "shape": list(item.mask.shape),
                "forward": item.stopped.forward.value,
                "backward": item.stopped.backward.value,
            }
            for item in masks.objects
        ],
        "weights": masks.weights,
        "device": masks.device,
        "precision": masks.precision,
        "batch": masks.batch,
        "second_looks": list(masks.second_looks.items()),
    }
    arrays: dict[str, NDArray[np.generic]] = {"described": np.frombuffer(json.dumps(described).encode(), np.uint8)}
    for item in masks.objects:
        arrays[f"mask_{item.object_id}"] = np.packbits(item.mask)
        arrays |= {f"{figure}_{item.object_id}": values for figure in FIGURES if (values := getattr(item, figure)) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    content = buffer.getvalue()
    return content + hashlib.sha256(content).digest()


def _decoded(path: Path) -> KeptMasks:
    kept = path.read_bytes()
    content, digest = kept[:-DIGEST_BYTES], kept[-DIGEST_BYTES:]
    # The archive's own checks spare its names: a figure whose name changed would be missing unnoticed, and a verdict another one.
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("expected the bytes that were kept, got others")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        described = json.loads(arrays["described"].tobytes())
        objects = tuple(_object(arrays, item) for item in described["objects"])
    return KeptMasks(
        objects=objects,
        weights=tuple((name, digest) for name, digest in described["weights"]),
        device=described["device"],
        precision=described["precision"],
        batch=described["batch"],
        second_looks={int(number): float(dice) for number, dice in described.get("second_looks", ())},
    )


def _object(arrays: np.lib.npyio.NpzFile, item: dict[str, object]) -> ObjectResult:
    number, shape = item["object_id"], tuple(map(int, item["shape"]))  # type: ignore[call-overload]  # our own JSON
    bits = np.unpackbits(arrays[f"mask_{number}"], count=int(np.prod(shape)))
    figures = {figure: arrays[f"{figure}_{number}"] for figure in FIGURES if f"{figure}_{number}" in arrays}
    stopped = Stops(forward=StopReason(item["forward"]), backward=StopReason(item["backward"]))
    return ObjectResult(object_id=int(str(number)), mask=bits.astype(bool).reshape(shape), stopped=stopped, **figures)
