"""The sizes of a network survive their file form and refuse contradictions."""

from __future__ import annotations

import json

import pytest

from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from tests.unit.model.compact import COMPACT


def test_the_default_is_the_official_model_at_512_pixels() -> None:
    config = MedSAM2Config()
    assert (config.image_size, config.feature_size, config.mask_size, config.num_mask_tokens) == (512, 32, 128, 4)


@pytest.mark.parametrize("config", [MedSAM2Config(), COMPACT])
def test_a_config_survives_json(config: MedSAM2Config) -> None:
    assert MedSAM2Config.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["[]", json.dumps({"depth": 3})])
def test_json_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the sizes of a MedSAM2Config"):
        MedSAM2Config.from_json(text)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_size": 500}, "image_size"),
        ({"windows": (7, 4, 14, 7)}, "windows"),
        ({"windows": (6, 4, 14, 7)}, r"windows\[0\]"),
        ({"memory_dim": 48}, "memory_dim"),
        ({"decoder_heads": 7}, "decoder_heads"),
        ({"global_attention_blocks": (12,)}, "global_attention_blocks"),
    ],
)
def test_sizes_that_contradict_one_another_are_refused_by_name(changes: dict[str, object], named: str) -> None:
    values = {**json.loads(MedSAM2Config().to_json()), **changes}
    with pytest.raises(ValueError, match=named):
        MedSAM2Config.from_json(json.dumps(values))


def test_a_square_map_of_256_pixels_builds_with_narrow_stages() -> None:
    config = MedSAM2Config(image_size=256, embed_dim=32, stages=(1, 2, 4, 2), global_attention_blocks=(4, 6), d_model=128, memory_dim=32)
    assert MedSAM2(config).position.shape == (128, 16, 16)
