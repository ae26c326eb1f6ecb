"""The committed part of the golden outputs: one box through the volume in both directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.options import PropagationOptions
from model.preprocess import normalise_frames
from model.prompt import BoxPrompt
from model.result import ObjectResult
from model.segmenter import Segmenter

SUBSET = Path(__file__).parent / "golden_subset" / "subset.npz"
LOGIT_STRIDE = 3
FEATURE_STRIDE = 4


@pytest.fixture(scope="module")
def subset() -> dict[str, NDArray[np.float32]]:
    with np.load(SUBSET) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def tracked(subset: dict[str, NDArray[np.float32]], golden_segmenter: Segmenter) -> ObjectResult:
    left, top, right, bottom = map(float, subset["box1"])
    prompt = BoxPrompt(frame=int(subset["prompt_slice"]), left=left, top=top, right=right, bottom=bottom)
    options = PropagationOptions(stop_after_empty_frames=None, keep_logits=True)
    return golden_segmenter.segment(subset["volume"].astype(np.uint8), [prompt], options).objects[0]


@pytest.mark.parametrize(("run", "field"), [("fwd", "logits_forward"), ("rev", "logits_backward")])
def test_a_box_is_propagated_as_by_the_reference(
    run: str, field: str, subset: dict[str, NDArray[np.float32]], tracked: ObjectResult
) -> None:
    frames = subset[f"{run}_frames"].astype(int)
    logits = getattr(tracked, field)[frames]
    difference = np.abs(logits[:, ::LOGIT_STRIDE, ::LOGIT_STRIDE] - subset[f"{run}_logits"]).max(axis=(1, 2))
    assert difference[0] <= 1e-3, difference
    assert (difference[1:] <= 0.1).all(), difference
    bits = subset[f"{run}_masks"].astype(np.uint8)
    masks = np.unpackbits(bits, count=logits.size).reshape(logits.shape).astype(np.bool_)
    pixels = ((logits > 0) != masks).sum(axis=(1, 2))
    assert (pixels <= 2).all(), pixels
    np.testing.assert_allclose(tracked.object_score_logit[frames], subset[f"{run}_object_score_logits"], atol=1e-3)
    np.testing.assert_allclose(tracked.iou[frames], subset[f"{run}_iou"], atol=1e-3)


def test_the_features_of_the_prompted_slice_match(subset: dict[str, NDArray[np.float32]], golden_segmenter: Segmenter) -> None:
    frame = subset["volume"].astype(np.uint8)[int(subset["prompt_slice"])]
    step = slice(None, None, FEATURE_STRIDE)
    pixels = normalise_frames(frame[None], 512)[0, :, ::4, ::4]
    np.testing.assert_allclose(pixels[:, step, step], subset["preproc"], atol=2e-7, rtol=0)
    features = golden_segmenter.cache.features(frame).embedding[0, step, step, step].numpy()
    np.testing.assert_allclose(features, subset["features"], atol=1e-4 * np.abs(subset["features"]).max(), rtol=0)
