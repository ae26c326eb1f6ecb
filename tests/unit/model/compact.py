"""A compact network whose arithmetic takes milliseconds, with weights from a fixed seed."""

from __future__ import annotations

import torch

from model.config import MedSAM2Config
from model.medsam2 import MedSAM2

COMPACT = MedSAM2Config(
    image_size=64,
    embed_dim=8,
    stages=(1, 2, 1, 1),
    windows=(4, 4, 2, 1),
    global_attention_blocks=(2,),
    d_model=32,
    memory_dim=16,
    memory_attention_layers=1,
    memory_attention_feedforward=32,
    decoder_heads=2,
    decoder_feedforward=32,
)


def compact_model(*, object_score: float | None = None, seed: int = 0) -> MedSAM2:
    """The network; with `object_score` every object's score logit is that constant."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MedSAM2(COMPACT)
    if object_score is not None:
        last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
        torch.nn.init.zeros_(last.get_parameter("weight"))
        torch.nn.init.constant_(last.get_parameter("bias"), object_score)
    return model.eval()
