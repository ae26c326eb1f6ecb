"""The reference's stored intermediate tensors: each step is fed with the stored input of that step, so that faults do not add up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import MedSAM2Config
from model.mask_choice import DecodedMasks
from model.medsam2 import DecoderPrompts, ImageFeatures, MedSAM2, Memories
from model.preprocess import normalise_frames, to_model_pixels
from tests.model.golden_cases import Inputs

RELATIVE_TOLERANCE = 1e-4
POINTER_TIME = 1 / 11  # one frame, of the twelve
LATEST_SLOT = 6


@pytest.fixture(scope="module")
def stored(golden_folder: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(golden_folder / "intermediates_box.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module", autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def features(golden_model: MedSAM2, golden_inputs: Inputs) -> dict[int, ImageFeatures]:
    size = golden_model.config.image_size
    return {frame: golden_model.encode_image(normalise_frames(golden_inputs.volume[frame : frame + 1], size)) for frame in (6, 7)}


@pytest.fixture(scope="module")
def boxed(golden_model: MedSAM2, golden_inputs: Inputs, features: dict[int, ImageFeatures]) -> DecodedMasks:
    corners = golden_inputs.array("box1").astype(np.float32).reshape(2, 2)
    points = to_model_pixels(corners, (120, 144), golden_model.config.image_size)
    prompts = DecoderPrompts(points=torch.from_numpy(points)[None], labels=torch.tensor([[2, 3]]))
    return golden_model.decode(features[6], golden_model.without_memory(features[6]), prompts, multimask=False)


def test_preprocessing_matches_to_float32_rounding(golden_inputs: Inputs) -> None:
    frame = normalise_frames(golden_inputs.volume[6:7], MedSAM2Config().image_size)[0]
    np.testing.assert_allclose(frame[:, ::4, ::4], golden_inputs.array("preproc_slice6_f32"), atol=2e-7, rtol=0)


def test_the_trunk_matches_stage_by_stage(golden_model: MedSAM2, golden_inputs: Inputs, stored: dict[str, NDArray[np.float32]]) -> None:
    trunk = golden_model.image_encoder.trunk
    frame = normalise_frames(golden_inputs.volume[6:7], golden_model.config.image_size)
    _assert_close(trunk.patch_embed(frame)[0, ::8, ::8], stored["patch_embed_s6"])
    for stage, (tensor, stride) in enumerate(zip(trunk(frame), (8, 4, 2, 1), strict=True)):
        _assert_close(tensor[0, :, ::stride, ::stride], stored[f"trunk_stage{stage}_s6"])


def test_the_image_features_match(features: dict[int, ImageFeatures], stored: dict[str, NDArray[np.float32]]) -> None:
    _assert_close(features[6].embedding[0], stored["fpn2_s6"])
    _assert_close(features[6].fine[0][0, :, ::2, ::2], stored["high_res_s0_s6"])
    _assert_close(features[6].fine[1][0], stored["high_res_s1_s6"])


def test_the_position_tables_match(golden_model: MedSAM2, stored: dict[str, NDArray[np.float32]]) -> None:
    _assert_close(golden_model.position, stored["pos_enc2"])
    _assert_close(golden_model.memory_position, stored["memenc_pos_s6"])
    _assert_close(golden_model.sam_prompt_encoder.grid_position()[0, :, ::2, ::2], stored["dense_pe"])


def test_the_prompt_tokens_match(golden_model: MedSAM2, golden_inputs: Inputs, stored: dict[str, NDArray[np.float32]]) -> None:
    corners = to_model_pixels(golden_inputs.array("box1").astype(np.float32).reshape(2, 2), (120, 144), 512)
    sparse, dense = golden_model.sam_prompt_encoder(torch.from_numpy(corners)[None], torch.tensor([[2, 3]]), None)
    _assert_close(sparse, stored["prompt_sparse_s6"])
    _assert_close(dense[0, :, 0, 0], stored["prompt_dense_vec_s6"])
    nothing = DecoderPrompts.none(1, torch.device("cpu"))
    _assert_close(golden_model.sam_prompt_encoder(nothing.points, nothing.labels, None)[0], stored["prompt_sparse_s7"])


def test_the_decoded_masks_of_a_box_match(boxed: DecodedMasks, stored: dict[str, NDArray[np.float32]]) -> None:
    _assert_close(boxed.candidates.logits[0], stored["dec_all_masks_s6"])
    _assert_close(boxed.candidates.ious[0], stored["dec_all_iou_s6"])
    _assert_close(boxed.candidates.tokens[0], stored["dec_mask_tokens_s6"])
    _assert_close(boxed.object_score, stored["dec_obj_score_s6"])
    _assert_close(boxed.pointer[0], stored["obj_ptr_s6"])


def test_the_spatial_memory_matches_to_one_rounding_of_storage(
    golden_model: MedSAM2, features: dict[int, ImageFeatures], boxed: DecodedMasks, stored: dict[str, NDArray[np.float32]]
) -> None:
    memory = golden_model.encode_memory(features[6], boxed.logits, boxed.object_score, binarise=True)
    assert memory.dtype == torch.bfloat16
    exact = stored["memenc_out_s6_fp32"]
    np.testing.assert_allclose(memory[0].float(), exact, rtol=2**-8, atol=1e-4)
    equal = np.mean(memory[0].float().numpy() == stored["memenc_stored_s6"])
    assert equal > 0.999


def test_memory_attention_and_the_tracked_masks_match(
    golden_model: MedSAM2, features: dict[int, ImageFeatures], stored: dict[str, NDArray[np.float32]]
) -> None:
    memories = _stored_memories(stored)
    tokens, positions, pointer_tokens = golden_model._memory_tokens(memories)
    _assert_close(tokens[0], stored["memattn_memory_s7"])
    _assert_close(positions[0], stored["memattn_memory_pos_s7"])
    assert pointer_tokens == stored["memattn_numptr_s7"]
    conditioned = golden_model.condition_on_memory(features[7], memories)
    _assert_close(conditioned[0].flatten(1).T, stored["memattn_out_s7"])
    decoded = golden_model.decode(features[7], conditioned, DecoderPrompts.none(1, torch.device("cpu")), multimask=True)
    _assert_close(decoded.candidates.logits[0], stored["dec_all_masks_s7"])
    _assert_close(decoded.pointer[0], stored["obj_ptr_s7"])


def _stored_memories(stored: dict[str, NDArray[np.float32]]) -> Memories:
    spatial = torch.from_numpy(stored["memenc_stored_s6"])[None, None].bfloat16()
    pointers = torch.from_numpy(stored["obj_ptr_s6"])[None, None]
    return Memories(spatial=spatial, slots=(LATEST_SLOT,), pointers=pointers, pointer_offsets=(POINTER_TIME,))


def _assert_close(ours: Tensor, reference: NDArray[np.float32]) -> None:
    scale = float(np.abs(reference).max())
    np.testing.assert_allclose(ours.numpy(), reference, atol=RELATIVE_TOLERANCE * scale, rtol=0)
