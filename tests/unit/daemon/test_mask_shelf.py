"""The shelf gives masks back as they were, and its key changes with everything that decides them and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daemon.mask_shelf import KeptMasks, MaskShelf, inference_key
from dicom_io.series import read_series
from dicom_io.synthesis import write_ct_series
from dicom_io.volume import Volume
from dicom_io.volume_reader import read_volume
from model.options import PropagationOptions
from model.prompt import BoxPrompt
from model.result import ObjectResult, StopReason, Stops
from rules.prompts.generate import PromptedObject
from rules.rule import Target

SHAPE = (5, 7, 9)
TARGET = Target.model_validate(
    {
        "label": "Liver",
        "category": "AnatomicalStructure",
        "type": {"value": "10200004", "scheme": "SCT", "meaning": "Liver"},
        "window": {"low": -160, "high": 240},
        "prompt": {"kind": "box", "unit": "pixel", "frame": "middle", "left": 2, "top": 2, "right": 5, "bottom": 6},
    }
)


def masks() -> KeptMasks:
    random = np.random.default_rng(7)
    figures = random.random(SHAPE[0]).astype(np.float32)
    figures[0] = np.nan
    stops = Stops(forward=StopReason.EMPTY_FRAMES, backward=StopReason.REACHED_END)
    objects = tuple(
        ObjectResult(
            object_id=number,
            mask=random.random(SHAPE) > 0.5,
            iou=figures,
            object_score_logit=-figures,
            stability=figures * 2,
            stopped=stops,
        )
        for number in (1, 2)
    )
    return KeptMasks(objects=objects, weights=(("starter", "ab" * 32),), device="cpu", precision="float32")


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    folder = tmp_path_factory.mktemp("images")
    write_ct_series(folder / "ct", np.zeros(SHAPE, np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    return read_volume(read_series(sorted((folder / "ct").iterdir())))


def test_masks_come_back_bit_for_bit(tmp_path: Path) -> None:
    kept = masks()
    MaskShelf(tmp_path).keep("ab", kept)
    found = MaskShelf(tmp_path).find("ab")
    assert found is not None
    assert (found.weights, found.device, found.precision) == (kept.weights, kept.device, kept.precision)
    for one, other in zip(found.objects, kept.objects, strict=True):
        assert (one.object_id, one.stopped) == (other.object_id, other.stopped)
        assert one.mask.dtype == np.bool_
        assert np.array_equal(one.mask, other.mask)
        for figure in ("iou", "object_score_logit", "stability"):
            assert np.array_equal(getattr(one, figure), getattr(other, figure), equal_nan=True)
            assert getattr(one, figure).dtype == np.float32


def test_what_was_never_kept_is_not_found_and_what_was_damaged_is_forgotten(tmp_path: Path) -> None:
    shelf = MaskShelf(tmp_path)
    assert shelf.find("ab") is None
    shelf.keep("ab", masks())
    (tmp_path / "ab.npz").write_bytes(b"torn")
    assert shelf.find("ab") is None
    assert list(tmp_path.iterdir()) == []


def test_a_bit_that_turns_anywhere_in_a_kept_file_is_seen(tmp_path: Path) -> None:
    shelf = MaskShelf(tmp_path)
    shelf.keep("ab", masks())
    whole = (tmp_path / "ab.npz").read_bytes()
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "ab.npz").write_bytes(damaged)
        assert shelf.find("ab") is None, f"byte {place} of {len(whole)}"


def key(volume: Volume, target: Target = TARGET, left: float = 2, weight: str = "ab", options: PropagationOptions | None = None) -> str:
    box = BoxPrompt(frame=2, left=left, top=2, right=5, bottom=6, object_id=1)
    prompted = PromptedObject(target=target, object_id=1, label=target.label, prompts=(box,))
    return inference_key(volume, [prompted], [weight], options or PropagationOptions())


CHANGES: dict[str, Callable[[Volume], str]] = {
    "a voxel": lambda volume: key(replace(volume, voxels=volume.voxels + (np.indices(SHAPE).sum(0) == 0))),
    "the geometry": lambda volume: key(replace(volume, affine=volume.affine * 1.5)),
    "a prompt": lambda volume: key(volume, left=1),
    "the weights": lambda volume: key(volume, weight="cd"),
    "the window": lambda volume: key(volume, TARGET.model_copy(update={"window": TARGET.window.model_copy(update={"low": -200.0})})),
    "the options": lambda volume: key(volume, options=PropagationOptions(hole_filling_area=8)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_everything_that_decides_the_masks_changes_the_key(volume: Volume, change: str) -> None:
    assert key(volume) == key(volume)
    assert CHANGES[change](volume) != key(volume)
