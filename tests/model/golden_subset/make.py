"""Cut the committed subset out of the full golden outputs: `python tests/model/golden_subset/make.py GOLDEN_FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

LOGIT_STRIDE = 3  # pixels; every mask is kept whole, as bits
FEATURE_STRIDE = 4


def main(golden: Path) -> None:
    """Write `subset.npz` beside this script."""
    inputs, box, inner = (np.load(golden / f"{name}.npz") for name in ("inputs", "case_box", "intermediates_box"))
    kept = {name: inputs[name] for name in ("volume", "box1", "prompt_slice")}
    kept["preproc"] = inputs["preproc_slice6_f32"][:, ::FEATURE_STRIDE, ::FEATURE_STRIDE]
    for way in ("fwd", "rev"):
        logits = box[f"{way}_video_logits"][:, 0]  # (F, row, column)
        kept[f"{way}_frames"] = box[f"{way}_frames"]
        kept[f"{way}_logits"] = logits[:, ::LOGIT_STRIDE, ::LOGIT_STRIDE]
        kept[f"{way}_masks"] = np.packbits(logits > 0)
        kept[f"{way}_object_score_logits"] = box[f"{way}_object_score_logits"][:, 0]
        # An unstable single mask first, multimask outputs then: the best of masks 1..3 throughout.
        kept[f"{way}_iou"] = box[f"{way}_iou_all"][:, 1:].max(axis=1)
    kept["features"] = inner["fpn2_s6"][::FEATURE_STRIDE, ::FEATURE_STRIDE, ::FEATURE_STRIDE]
    np.savez_compressed(Path(__file__).with_name("subset.npz"), **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
