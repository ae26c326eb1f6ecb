"""Recipe `prior`: a lesion of an earlier study is found again in a deformed follow-up, and keeps its identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from dicom_io.codes import Code
from dicom_io.volume import Volume
from model.prompt import BoxPrompt, MaskPrompt
from rules.prompts.aligned import Alignments
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate
from rules.prompts.outcome import PromptOrigin
from rules.prompts.prior import Prior
from tests.unit.rules.bodies import bent, now, then
from tests.unit.rules.examples import plan, target, volume

LESION = Code(value="52988006", scheme="SCT", meaning="Lesion")
SPLEEN = Code(value="78961009", scheme="SCT", meaning="Spleen")


def prior(name: str = "lesion", **settings: object) -> Prior:
    origin = PromptOrigin(
        kind="SEG", sop_instance_uid="2.25.7", item="segment 1", tracking_id="Target 1", tracking_uid="2.25.8", automatic=False
    )
    found = Prior(
        volume=then().volume,
        mask=then().masks[name],
        study_date=date(2024, 2, 29),
        age_days=100,
        label="Lesion 1",
        type=LESION,
        origin=origin,
    )
    return replace(found, **settings)  # type: ignore[arg-type]


def followed(*priors: Prior, image: Volume | None = None, **recipe: object) -> GeneratedPrompts:
    lesion = target(label="Lesion", type=vars(LESION), prompt={"kind": "prior", **recipe})
    alignments: Alignments = {(id(then().volume), True): bent()} if image is None else {}
    return generate(plan(lesion), PromptContext(volume=image or now().volume, priors=priors, alignments=alignments))


def box_iou(box: BoxPrompt, truth: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Overlap of a box with the tight box of the truth on the same slice."""
    rows, columns = np.nonzero(truth[box.frame])
    if not len(rows):
        return 0.0
    drawn, given = np.zeros(truth.shape[1:], np.bool_), np.zeros(truth.shape[1:], np.bool_)
    drawn[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1] = True
    given[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return float((drawn & given).sum() / (drawn | given).sum())


def test_a_lesion_is_found_again_in_a_deformed_follow_up_and_keeps_its_tracking() -> None:
    (item,) = followed(prior()).objects
    (box,) = item.prompts
    assert isinstance(box, BoxPrompt)
    assert box_iou(box, now().masks["lesion"]) >= 0.5
    assert item.origin is not None
    assert (item.origin.tracking_id, item.origin.tracking_uid, item.origin.automatic) == ("Target 1", "2.25.8", False)


def test_the_earlier_mask_itself_can_be_the_prompt_and_be_widened() -> None:
    (plain,) = followed(prior(), prompt_as="mask").objects[0].prompts
    (wide,) = followed(prior(), prompt_as="mask", margin_mm="9").objects[0].prompts
    assert isinstance(plain, MaskPrompt)
    assert isinstance(wide, MaskPrompt)
    assert wide.mask.sum() > 2 * plain.mask.sum() > 0


def test_only_the_newest_study_counts_and_each_tracked_object_once() -> None:
    older = prior("spleen", study_date=date(2023, 1, 1))
    algorithms = prior("spleen", origin=replace(prior().origin, automatic=True))
    (item,) = followed(older, algorithms, prior()).objects
    (box,) = item.prompts
    assert isinstance(box, BoxPrompt)
    assert box_iou(box, now().masks["lesion"]) >= 0.5


@pytest.mark.parametrize(
    ("settings", "recipe", "reason"),
    [
        ({"type": SPLEEN}, {}, "no segment of an earlier study: 1 of another type"),
        ({"age_days": 500}, {"maximum_age_days": "400"}, "no segment of an earlier study: 1 too old"),
        ({}, {"labels": "Tumour"}, "no segment of an earlier study: 1 with another label"),
    ],
)
def test_what_does_not_fit_is_counted_without_its_text(settings: dict[str, Any], recipe: dict[str, Any], reason: str) -> None:
    found = followed(prior(**settings), **recipe)
    assert found.objects == ()
    assert [missing.reason for missing in found.missing] == [reason]


def test_without_any_earlier_segment_there_is_none() -> None:
    assert followed().missing[0].reason == "no segment of an earlier study: no earlier study of this patient holds any"


def test_a_label_may_stand_for_the_type() -> None:
    assert len(followed(prior(type=None), labels="Lesion.*").objects) == 1


def test_a_volume_that_looks_otherwise_gives_none() -> None:
    noise = np.random.default_rng(5).normal(0, 100, now().volume.voxels.shape).astype(np.float32)
    found = followed(prior(), image=volume(noise, now().volume.affine), deformable="false")
    assert found.objects == ()
    assert "were not found again: expected a correlation of at least 0.5" in found.missing[0].reason


def test_a_volume_of_a_few_centimetres_cannot_be_laid_upon_another() -> None:
    found = followed(prior(), image=volume(np.zeros((6, 20, 20), np.float32)))
    assert found.missing[0].reason == "no alignment: expected volumes of at least 40 mm on every side, got one of 12.5 x 20 x 20 mm"
