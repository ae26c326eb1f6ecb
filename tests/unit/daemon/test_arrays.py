"""Research volumes in and out: MedSAM2's .npz, NIfTI and NRRD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from daemon.arrays import RejectedArrays, read_arrays, write_arrays
from model.prompt import BoxPrompt, MaskPrompt, PointPrompt
from model.result import ObjectResult, SegmentationResult, StopReason, Stops

FRAMES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def saved(folder: Path, **arrays: NDArray[np.generic]) -> Path:
    path = folder / "case.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def result(*masks: NDArray[np.bool_]) -> SegmentationResult:
    """A result as the segmenter gives it, with the masks that the test names."""
    figures = np.full(len(masks[0]), 0.9, np.float32)
    objects = tuple(
        ObjectResult(
            object_id=number,
            mask=mask,
            iou=figures,
            object_score_logit=figures,
            stability=figures,
            stopped=Stops(forward=StopReason.REACHED_END, backward=StopReason.REACHED_END),
        )
        for number, mask in enumerate(masks, start=1)
    )
    return SegmentationResult(objects=objects, weights_id="w", device="cpu", precision="float32", seconds=0.0, frames_encoded=2)


def test_every_row_of_boxes_is_one_object_with_inclusive_pixels(tmp_path: Path) -> None:
    source = read_arrays(saved(tmp_path, imgs=FRAMES, boxes=np.array([[0, 1, 0, 3, 2], [1, 0, 0, 1, 1]])), None)
    assert source.prompts == (
        BoxPrompt(frame=0, left=1, top=0, right=3, bottom=2, object_id=1),
        BoxPrompt(frame=1, left=0, top=0, right=1, bottom=1, object_id=2),
    )
    assert (source.frames == FRAMES).all()


def test_a_negative_point_belongs_to_the_object_of_the_positive_point_before_it(tmp_path: Path) -> None:
    source = read_arrays(saved(tmp_path, imgs=FRAMES, points=np.array([[0, 1, 1, 1], [0, 3, 2, 0], [1, 2, 2, 1]])), None)
    assert source.prompts == (
        PointPrompt(frame=0, points=((1.0, 1.0), (3.0, 2.0)), labels=(1, 0), object_id=1),
        PointPrompt(frame=1, points=((2.0, 2.0),), labels=(1,), object_id=2),
    )


def test_a_fifth_column_says_which_object_a_point_refines(tmp_path: Path) -> None:
    path = saved(tmp_path, imgs=FRAMES, boxes=np.array([[0, 0, 0, 3, 2]]), points=np.array([[0, 1, 1, 0, 1]]))
    source = read_arrays(path, None)
    assert [prompt.object_id for prompt in source.prompts] == [1, 1]


def test_a_mask_prompts_every_slice_where_it_is_not_empty(tmp_path: Path) -> None:
    masks = np.zeros((1, 2, 3, 4), np.uint8)
    masks[0, 1, 1, 1] = 1
    (prompt,) = read_arrays(saved(tmp_path, imgs=FRAMES, masks=masks), None).prompts
    assert isinstance(prompt, MaskPrompt)
    assert (prompt.frame, prompt.object_id, int(prompt.mask.sum())) == (1, 1, 1)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"boxes": np.zeros((1, 5))}, "expected an array `imgs`"),
        ({"imgs": FRAMES.astype(np.float32)}, "expected .D, H, W. uint8"),
        ({"imgs": FRAMES, "boxes": np.zeros((1, 4))}, "boxes: expected rows"),
        ({"imgs": FRAMES, "masks": np.zeros((1, 2, 3, 5))}, "masks: expected"),
        ({"imgs": FRAMES, "boxes": np.array([[5, 0, 0, 1, 1]])}, "expected a frame of 0..1, got 5"),
        ({"imgs": FRAMES, "boxes": np.array([[0, 2, 0, 1, 1]])}, "expected left <= right"),
        ({"imgs": FRAMES, "points": np.array([[0, 1, 1, 7]])}, "expected 1 .positive. or 0"),
    ],
)
def test_arrays_of_another_shape_are_refused(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], words: str) -> None:
    with pytest.raises(RejectedArrays, match=words):
        read_arrays(saved(tmp_path, **arrays), None)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    path.write_bytes(b"not a zip file")
    with pytest.raises(RejectedArrays, match=r"not a readable \.npz"):
        read_arrays(path, None)


def test_a_result_without_kept_logits_has_masks_and_confidences_only(tmp_path: Path) -> None:
    source = read_arrays(saved(tmp_path, imgs=FRAMES), None)
    write_arrays(tmp_path / "out.npz", result(FRAMES > 5, FRAMES > 10), source)
    with np.load(tmp_path / "out.npz") as written:
        assert written["masks"].dtype == np.uint8
        assert (written["masks"][1] == (FRAMES > 10)).all()
        assert sorted(written.files) == ["iou", "masks", "object_ids", "object_score_logit", "stability"]


def test_a_label_image_keeps_the_geometry_of_its_nifti_source(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(FRAMES.astype(np.int16))
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    source = read_arrays(tmp_path / "ct.nii.gz", (0.0, 23.0))
    assert (source.frames.min(), source.frames.max()) == (0, 255)
    write_arrays(tmp_path / "labels.nii.gz", result(FRAMES > 5), source)
    labels = SimpleITK.ReadImage(str(tmp_path / "labels.nii.gz"))
    assert labels.GetSpacing() == pytest.approx((0.5, 0.7, 3.0))
    assert labels.GetOrigin() == pytest.approx((1.0, 2.0, 3.0))
    assert (SimpleITK.GetArrayFromImage(labels) == (FRAMES > 5)).all()


def test_an_npz_has_no_geometry_to_write_a_label_image_with(tmp_path: Path) -> None:
    source = read_arrays(saved(tmp_path, imgs=FRAMES), None)
    with pytest.raises(RejectedArrays, match=r"write its result to an \.npz"):
        write_arrays(tmp_path / "labels.nii.gz", result(FRAMES > 5), source)


def test_a_torn_image_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(b"\x1f\x8b torn")
    with pytest.raises(RejectedArrays, match="not a readable NIfTI or NRRD image"):
        read_arrays(path, None)
