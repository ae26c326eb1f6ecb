"""The commands that need no network: research volumes, weights, and the demonstration as a newcomer runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from tests.e2e.harness import MEDSAM2D, run
from tests.e2e.studies import CT_BOX, phantom_study
from tests.model.golden_weights import golden_state


def volume(folder: Path) -> Path:
    """An .npz in MedSAM2's own form: a bright ball, two boxes on different slices."""
    k, j, i = np.ogrid[:10, :48, :64]
    ball = (k - 5) ** 2 * 4 + (j - 24) ** 2 + (i - 30) ** 2 < 100
    frames = np.where(ball, 200, 60).astype(np.uint8)
    np.savez(folder / "case.npz", imgs=frames, boxes=np.array([[5, 20, 14, 40, 34], [4, 21, 15, 39, 33]]))
    return folder / "case.npz"


def test_a_research_volume_gives_a_mask_an_object_and_the_logits_of_both_directions(tmp_path: Path) -> None:
    run([*MEDSAM2D, "segment", str(volume(tmp_path)), "--weights", "starter", "--out", str(tmp_path / "out.npz"), "--logits", "--no-stop"])
    with np.load(tmp_path / "out.npz") as out:
        assert (out["masks"].shape, out["masks"].dtype) == ((2, 10, 48, 64), np.uint8)
        assert (out["logits_forward"].shape, out["logits_forward"].dtype) == ((2, 10, 48, 64), np.float32)
        visited = ~np.isnan(out["logits_forward"]).all(axis=(2, 3))
        assert visited.tolist() == [[frame >= 5 for frame in range(10)], [frame >= 4 for frame in range(10)]]
        back = ~np.isnan(out["logits_backward"]).all(axis=(2, 3))
        assert back.tolist() == [[frame <= 5 for frame in range(10)], [frame <= 4 for frame in range(10)]]


def test_the_reference_switch_gives_the_stored_logits_of_the_reference(shared_folder: Path, tmp_path: Path) -> None:
    stored = np.load(shared_folder / "golden" / "case_two_objects.npz")
    inputs = np.load(shared_folder / "golden" / "inputs.npz")
    shapes = {key: tuple(value.shape) for key, value in MedSAM2(MedSAM2Config()).state_dict().items()}
    torch.save({"model": golden_state(shapes)}, tmp_path / "synthetic.pt")
    frame = int(inputs["prompt_slice"])
    boxes = np.array([[frame, *inputs["box1"]], [frame, *inputs["box2"]]])
    np.savez(tmp_path / "case.npz", imgs=inputs["volume"], boxes=boxes)
    command = [*MEDSAM2D, "segment", str(tmp_path / "case.npz"), "--weights", str(tmp_path / "synthetic.pt")]
    run([*command, "--out", str(tmp_path / "out.npz"), "--reference", "--logits", "--no-stop"])
    with np.load(tmp_path / "out.npz") as out:
        for prefix, name in (("fwd_", "logits_forward"), ("rev_", "logits_backward")):
            for index, k in enumerate(stored[f"{prefix}frames"]):
                expected, got = stored[f"{prefix}video_logits"][index], out[name][:, k]
                assert np.abs(got - expected).max() <= (1e-3 if k == frame else 0.1)
                assert ((got > 0) != (expected > 0)).sum(axis=(1, 2)).max() <= 2


def test_a_rerun_on_the_same_files_gives_the_same_bytes_and_another_box_another_object(tmp_path: Path) -> None:
    phantom_study(tmp_path / "study")
    (tmp_path / "rules.yaml").write_text(CT_BOX)
    command = [*MEDSAM2D, "segment", str(tmp_path / "study"), "--rules", str(tmp_path / "rules.yaml")]
    for out, extra in (("first", []), ("second", []), ("boxed", ["--box", "16,60,60,120,120"])):
        run([*command, "--out", str(tmp_path / out), *extra])
    (first,), (second,), (boxed,) = (list((tmp_path / out).glob("seg-*.dcm")) for out in ("first", "second", "boxed"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert boxed.name != first.name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segment", "absent", "--out", "out"], "no such file or folder"),
        (["segment", "case.npz", "--weights", "tumour", "--out", "out.npz"], "no such name (known: starter)"),
        (["segment", "case.npz", "--out", "out.npz", "--box", "1,2,3"], "expected five numbers"),
    ],
)
def test_a_wrong_call_ends_with_the_cause_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    volume(tmp_path)
    placed = [str(tmp_path / argument) if argument in ("case.npz", "absent") else argument for argument in arguments]
    done = run([*MEDSAM2D, *placed], check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_weights_file_without_a_known_hash_is_installed_only_with_a_hash_or_trust_and_that_is_audited(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"folders: {{state: {json.dumps(str(tmp_path / 'state'))}}}\nrules: {{paths: [rules.yaml]}}\n")
    shapes = {key: tuple(value.shape) for key, value in MedSAM2(MedSAM2Config()).state_dict().items()}
    torch.save({"model": golden_state(shapes)}, tmp_path / "synthetic.pt")
    install = [*MEDSAM2D, "weights", "install", str(tmp_path / "synthetic.pt"), "--name", "synthetic", "--config", str(config)]
    refused = run(install, check=False)
    assert refused.returncode == 2
    assert "pass --sha256, or pass --trust" in refused.stderr
    run([*install, "--trust", "--licence", "CC0", "--intended-use", "tests"])
    listed = run([*MEDSAM2D, "weights", "list", "--json", "--config", str(config)]).stdout
    assert {entry["name"] for entry in json.loads(listed)} == {"starter", "synthetic"}
    trail = run([*MEDSAM2D, "audit", "show", "--config", str(config)]).stdout
    assert "weights-trusted" in trail
    assert "1 records, the chain is whole" in run([*MEDSAM2D, "audit", "verify", "--config", str(config)]).stdout


def test_the_demonstration_delivers_a_good_mask_of_every_target_where_the_baselines_fail(tmp_path: Path) -> None:
    done = run([*MEDSAM2D, "demo", "--json", "--folder", str(tmp_path / "demo")])
    report = json.loads(done.stdout)
    assert len(done.stdout.splitlines()) == 1
    assert report["delivered"] is True
    assert min(report["dice"].values()) >= 0.85
    assert max(value for one in report["baselines"].values() for value in one.values()) < 0.6
    assert Path(report["seg"]).is_file()
    assert Path(report["overlay"]).read_bytes().startswith(b"\x89PNG")
    assert set(report) == {"delivered", "dice", "baselines", "seconds", "seg", "overlay"}
