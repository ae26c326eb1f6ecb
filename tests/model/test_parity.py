"""Every golden case of the reference predictor, compared slice by slice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from model.medsam2 import MedSAM2
from model.segmenter import Segmenter
from tests.model.golden_cases import CASES, GoldenCase, Inputs
from tests.model.golden_weights import ABSENT_BIAS_SHIFT

PROMPTED_LOGIT_TOLERANCE = 1e-3
TRACKED_LOGIT_TOLERANCE = 0.1
MASK_PIXEL_TOLERANCE = 2  # a slice
SCORE_TOLERANCE = 1e-3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_predictor_is_reproduced(
    case: GoldenCase, golden_segmenter: Segmenter, golden_model: MedSAM2, golden_inputs: Inputs, golden_folder: Path
) -> None:
    with _object_score_shifted(golden_model, ABSENT_BIAS_SHIFT if case.absent else 0.0):
        result = golden_segmenter.segment(golden_inputs.volume, case.prompts(golden_inputs), case.options)
    with np.load(golden_folder / f"{case.file}.npz") as golden:
        for prefix, field in case.runs.items():
            frames = golden[f"{prefix}_frames"]
            for index, one in enumerate(result.objects):
                logits = getattr(one, field)
                expected = golden[f"{prefix}_video_logits"][:, index]
                visited = np.flatnonzero(~np.isnan(logits[:, 0, 0]))
                assert sorted(frames) == visited.tolist()
                difference = np.abs(logits[frames] - expected).max(axis=(1, 2))
                tolerance = np.where(np.isin(frames, list(case.prompted)), PROMPTED_LOGIT_TOLERANCE, TRACKED_LOGIT_TOLERANCE)
                assert (difference <= tolerance).all(), f"{prefix} object {index + 1}: {difference}"
                pixels = ((logits[frames] > 0) != (expected > 0)).sum(axis=(1, 2))
                assert (pixels <= MASK_PIXEL_TOLERANCE).all(), f"{prefix} object {index + 1}: {pixels}"
                scores = golden[f"{prefix}_object_score_logits"][:, index]
                np.testing.assert_allclose(one.object_score_logit[frames], scores, atol=SCORE_TOLERANCE)


@contextmanager
def _object_score_shifted(model: MedSAM2, shift: float) -> Iterator[None]:
    bias = model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    assert isinstance(bias, torch.Tensor)
    with torch.no_grad():
        bias += shift
        yield
        bias -= shift
