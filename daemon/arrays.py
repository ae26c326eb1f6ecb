"""Research volumes without DICOM: MedSAM2's `.npz`, NIfTI and NRRD, in as arrays and prompts, out as masks.

An `.npz` holds `imgs` (D, H, W) uint8 and any of
- `boxes`  (n, 5): rows (slice, left, top, right, bottom), inclusive pixel indices; each row is one object;
- `points` (n, 4) or (n, 5): rows (slice, x, y, label[, object]), label 1 positive, 0 negative. Without the fifth column a
  positive row begins a new object and a negative one belongs to the object before it; with it, rows refine object 1, 2, ...
  (an object that `boxes` began, too);
- `masks`  (n, D, H, W): each is one object, prompted on every slice where it is not empty.
Objects count from 1 in that order; `masks` (N, D, H, W) uint8 in the result follows it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from daemon.intensity_window import percentile_bounds
from daemon.windowing import to_frames
from dicom_io.errors import RejectedInput
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt, Prompt, check_prompts
from model.result import SegmentationResult

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
DEFAULT_PERCENTILES = (0.5, 99.5)


class RejectedArrays(RejectedInput):
    """An array file that lacks what it must hold, or holds it in another shape."""

    code = "rejected-arrays"


@dataclass(frozen=True, kw_only=True)
class ArrayInput:
    """`frames` (k, j, i) uint8, the prompts that came with them, and the image they were read from (None for .npz)."""

    frames: NDArray[np.uint8]
    prompts: tuple[Prompt, ...]
    image: SimpleITK.Image | None


def is_array_file(path: Path) -> bool:
    """Return whether `path` is a file of one of the kinds that this module reads."""
    return path.is_file() and path.name.lower().endswith((".npz", *IMAGE_SUFFIXES))


def read_arrays(path: Path, window: tuple[float, float] | None) -> ArrayInput:
    """Read an array file; `window` (low, high) maps the intensities of NIfTI and NRRD (default: percentiles 0.5 to 99.5).

    Raises `RejectedArrays`.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise RejectedArrays(f"{path.name}: not a readable NIfTI or NRRD image; is the file whole? ({_last_line(error)})") from error
    voxels = SimpleITK.GetArrayFromImage(image).astype(np.float32)  # (k, j, i)
    if voxels.ndim != 3:
        raise RejectedArrays(f"{path.name}: expected a 3-D image with one value a voxel, got an array of shape {voxels.shape}")
    frames = to_frames(voxels, *(window or percentile_bounds(voxels, DEFAULT_PERCENTILES, None)))
    return ArrayInput(frames=frames, prompts=(), image=image)


def write_arrays(path: Path, result: SegmentationResult, source: ArrayInput) -> None:
    """Write `masks` (N, D, H, W) uint8, confidences and, where kept, logits to an .npz; or one label image (NIfTI, NRRD).

    In a label image objects are numbered from 1; where they overlap, the later object is written over the earlier.
    """
    if path.suffix == ".npz":
        np.savez_compressed(path, **_result_arrays(result))  # type: ignore[arg-type]  # numpy types the keyword as allow_pickle
        return
    if source.image is None:
        raise RejectedArrays(f"--out {path.name}: an .npz input has no geometry; write its result to an .npz file")
    labels = np.zeros(source.frames.shape, np.uint8)
    for item in result.objects:
        labels[item.mask] = item.object_id
    image = SimpleITK.GetImageFromArray(labels)
    image.CopyInformation(source.image)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _read_npz(path: Path) -> ArrayInput:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("imgs", "boxes", "points", "masks") if name in archive}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise RejectedArrays(f"{path.name}: not a readable .npz of plain arrays ({error})") from error
    if "imgs" not in arrays:
        raise RejectedArrays(f"{path.name}: expected an array `imgs` (D, H, W) uint8, found none")
    frames = arrays["imgs"]
    if frames.ndim != 3 or frames.dtype != np.uint8:
        raise RejectedArrays(f"{path.name}: imgs: expected (D, H, W) uint8, got {frames.shape} {frames.dtype}")
    try:
        prompts = _prompts(arrays, frames.shape)
        if prompts:
            check_prompts(prompts, len(frames), (frames.shape[1], frames.shape[2]))
    except ValueError as error:
        raise RejectedArrays(f"{path.name}: {error}") from error
    return ArrayInput(frames=frames, prompts=prompts, image=None)


def _prompts(arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> tuple[Prompt, ...]:
    boxes = _boxes(arrays.get("boxes", np.empty((0, 5))))
    points = _points(arrays.get("points", np.empty((0, 4))), first_object=len(boxes) + 1)
    drawn: tuple[BoxPrompt | PointPrompt, ...] = (*boxes, *points)
    taken = max((prompt.object_id for prompt in drawn), default=0)
    return (*drawn, *_masks(arrays.get("masks", np.empty((0, *shape))), shape, first_object=taken + 1))


def _boxes(rows: NDArray[np.float64]) -> tuple[BoxPrompt, ...]:
    rows = np.atleast_2d(rows)
    if rows.shape[1] != 5:
        raise RejectedArrays(f"boxes: expected rows (slice, left, top, right, bottom), got shape {rows.shape}")
    return tuple(
        BoxPrompt(frame=int(row[0]), left=float(row[1]), top=float(row[2]), right=float(row[3]), bottom=float(row[4]), object_id=number)
        for number, row in enumerate(rows, start=1)
    )


def _points(rows: NDArray[np.float64], first_object: int) -> tuple[PointPrompt, ...]:
    rows = np.atleast_2d(rows)
    if rows.shape[1] not in (4, 5):
        raise RejectedArrays(f"points: expected rows (slice, x, y, label[, object]), got shape {rows.shape}")
    groups: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    current = first_object - 1
    for row in rows:
        current = int(row[4]) if len(row) == 5 else current + int(row[3] == 1)
        groups.setdefault((max(current, first_object if len(row) == 4 else 1), int(row[0])), []).append(row)
    return tuple(
        PointPrompt(
            frame=frame,
            points=tuple((float(row[1]), float(row[2])) for row in members),
            labels=tuple(int(row[3]) for row in members),
            object_id=number,
        )
        for (number, frame), members in groups.items()
    )


def _masks(stack: NDArray[np.uint8], shape: tuple[int, ...], first_object: int) -> tuple[MaskPrompt, ...]:
    if stack.ndim != 4 or stack.shape[1:] != shape:
        raise RejectedArrays(f"masks: expected (n, D, H, W) with the shape of imgs {shape}, got {stack.shape}")
    return tuple(
        MaskPrompt(frame=int(frame), mask=mask[frame] > 0, object_id=number)
        for number, mask in enumerate(stack, start=first_object)
        for frame in np.flatnonzero(mask.reshape(shape[0], -1).any(axis=1))
    )


def _result_arrays(result: SegmentationResult) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {
        "masks": np.stack([item.mask for item in result.objects]).astype(np.uint8),
        "object_ids": np.asarray([item.object_id for item in result.objects], np.int32),
        "iou": np.stack([item.iou for item in result.objects]),
        "object_score_logit": np.stack([item.object_score_logit for item in result.objects]),
        "stability": np.stack([item.stability for item in result.objects]),
    }
    if result.objects[0].logits_forward is not None:
        arrays["logits_forward"] = np.stack([_kept(item.logits_forward) for item in result.objects])
        arrays["logits_backward"] = np.stack([_kept(item.logits_backward) for item in result.objects])
    return arrays


def _kept(logits: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if logits is None:
        raise ValueError("logits: expected them kept for every object, got none")
    return logits


def _last_line(error: RuntimeError) -> str:
    """What ITK says at the end of its many lines."""
    return str(error).strip().splitlines()[-1]
