"""The network's steps at compact sizes: shapes, gradients through a clip, and the choice of a mask."""

from __future__ import annotations

import torch

from model.mask_choice import ABSENT_LOGIT, choose_mask, stability_score
from model.mask_decoder import Candidates
from model.medsam2 import DecoderPrompts, Memories
from tests.unit.model.compact import COMPACT, compact_model

CPU = torch.device("cpu")


def test_gradients_flow_through_a_clip_from_the_tracked_mask_to_every_part() -> None:
    model = compact_model(object_score=4.0).train()
    frames = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    features = model.encode_image(frames)
    first, second = features.frame(0), features.frame(1)
    box = DecoderPrompts(points=torch.tensor([[[10.0, 10.0], [40.0, 40.0]]]), labels=torch.tensor([[2, 3]]))
    prompted = model.decode(first, model.without_memory(first), box, multimask=False)
    spatial = model.encode_memory(first, prompted.logits, prompted.object_score, binarise=False)
    memories = Memories(spatial=spatial[:, None], slots=(6,), pointers=prompted.pointer[:, None], pointer_offsets=(0.5,))
    conditioned = model.condition_on_memory(second, memories)
    tracked = model.decode(second, conditioned, DecoderPrompts.none(1, CPU), multimask=True)
    assert tracked.logits.shape == (1, 1, COMPACT.mask_size, COMPACT.mask_size)
    assert tracked.candidates.logits.shape == (1, 4, COMPACT.mask_size, COMPACT.mask_size)
    loss = tracked.logits.square().mean() + tracked.candidates.ious.sum() + tracked.object_score.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    for part in ("image_encoder.trunk.patch_embed", "memory_encoder.mask_downsampler", "memory_attention", "obj_ptr_tpos_proj"):
        gradients = [p.grad for name, p in model.named_parameters() if name.startswith(part) and p.grad is not None]
        assert any(bool(gradient.abs().sum() > 0) for gradient in gradients), part
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_a_batch_of_frames_is_encoded_as_each_alone() -> None:
    model = compact_model()
    frames = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = model.encode_image(frames)
        alone = model.encode_image(frames[2:])
    torch.testing.assert_close(together.frame(2).embedding, alone.embedding, rtol=1e-4, atol=1e-5)


def test_an_absent_object_has_no_pixel_and_the_pointer_of_absence() -> None:
    model = compact_model(object_score=-4.0)
    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64))
        decoded = model.decode(features, model.without_memory(features), DecoderPrompts.none(1, CPU), multimask=True)
    assert (decoded.logits == ABSENT_LOGIT).all()
    torch.testing.assert_close(decoded.pointer, model.no_obj_ptr.detach())


def test_an_empty_mask_prompt_means_absence() -> None:
    model = compact_model()
    with torch.no_grad():
        features = model.encode_image(torch.rand(1, 3, 64, 64))
        empty = model.use_mask(features, torch.zeros(1, 1, 64, 64))
        full = model.use_mask(features, torch.ones(1, 1, 64, 64))
    assert (empty.object_score.item(), full.object_score.item()) == (-10.0, 10.0)
    torch.testing.assert_close(empty.pointer, model.no_obj_ptr.detach())
    assert (full.logits > 9.9).all()


def test_an_unstable_single_mask_gives_way_to_the_best_other_but_keeps_its_pointer_token() -> None:
    candidates = _candidates(unstable=True)
    fallen = choose_mask(candidates, multimask=False, fall_back=True)
    assert torch.equal(fallen.logits[0, 0], candidates.logits[0, 3])
    assert torch.equal(fallen.pointer_token[0], candidates.tokens[0, 0])
    kept = choose_mask(candidates, multimask=False, fall_back=False)
    assert torch.equal(kept.logits[0, 0], candidates.logits[0, 0])


def test_a_stable_single_mask_is_kept() -> None:
    candidates = _candidates(unstable=False)
    assert torch.equal(choose_mask(candidates, multimask=False, fall_back=True).logits[0, 0], candidates.logits[0, 0])


def test_multimask_takes_mask_and_pointer_of_the_best_predicted_iou() -> None:
    candidates = _candidates(unstable=False)
    best = choose_mask(candidates, multimask=True, fall_back=True)
    assert torch.equal(best.logits[0, 0], candidates.logits[0, 3])
    assert torch.equal(best.pointer_token[0], candidates.tokens[0, 3])


def test_the_stability_of_an_empty_mask_is_one() -> None:
    assert stability_score(torch.full((1, 4, 4), -5.0)).item() == 1.0


def _candidates(*, unstable: bool) -> Candidates:
    logits = torch.stack([torch.full((8, 8), float(i + 1)) for i in range(4)])[None]
    if unstable:
        logits[0, 0, :4] = 0.0  # within the margin around the threshold
    return Candidates(
        logits=logits,
        ious=torch.tensor([[0.99, 0.2, 0.3, 0.9]]),
        tokens=torch.arange(4.0)[None, :, None].expand(1, 4, 2),
        object_score=torch.tensor([1.0]),
    )
