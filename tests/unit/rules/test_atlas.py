"""Recipe `atlas` and atlas files: a structure carried over from one trunk to another, and what several atlases agree on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_io.codes import Code
from model.prompt import BoxPrompt
from rules.atlas import Atlas, Structure, read_atlas, write_atlas
from rules.errors import InvalidAtlas
from rules.prompts.aligned import Alignments
from rules.prompts.atlas import agreement, majority
from rules.prompts.generate import GeneratedPrompts, PromptContext, generate
from rules.registration import Alignment
from rules.simple_itk import sitk
from tests.unit.rules.bodies import bent, now, then
from tests.unit.rules.examples import LIVER, plan, target


def atlas(name: str = "abdomen", *, labels: tuple[str, ...] = ("liver", "spleen")) -> Atlas:
    coded = {"liver": Code(**LIVER)}
    structures = tuple(Structure(label=label, type=coded.get(label), mask=then().masks[label]) for label in labels)
    return Atlas(name=name, volume=then().volume, structures=structures, modality="CT", source="made up", licence="none needed")


def prompted(*atlases: Atlas, alignments: Alignments | None = None, **recipe: object) -> GeneratedPrompts:
    names = [f"{one.name}.npz" for one in atlases]
    context = PromptContext(
        volume=now().volume,
        atlases=dict(zip(names, atlases, strict=True)),
        alignments=alignments or {(id(then().volume), True): bent()},
    )
    return generate(plan(target(prompt={"kind": "atlas", "files": names, **recipe})), context)


def box_iou(box: BoxPrompt, truth: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    rows, columns = np.nonzero(truth[box.frame])
    drawn, given = np.zeros(truth.shape[1:], np.bool_), np.zeros(truth.shape[1:], np.bool_)
    drawn[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1] = True
    given[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return float((drawn & given).sum() / (drawn | given).sum())


def test_the_structure_of_the_targets_type_is_boxed_where_it_lies_in_the_other_trunk() -> None:
    (box,) = prompted(atlas()).objects[0].prompts
    assert isinstance(box, BoxPrompt)
    assert box_iou(box, now().masks["liver"]) >= 0.8


def test_a_structure_can_be_named() -> None:
    (box,) = prompted(atlas(), structure="SPLEEN").objects[0].prompts
    assert isinstance(box, BoxPrompt)
    assert box_iou(box, now().masks["spleen"]) >= 0.7


def test_a_structure_that_the_atlas_lacks_is_none_found() -> None:
    found = prompted(atlas(labels=("spleen",)))
    assert [missing.reason for missing in found.missing] == ["atlas abdomen has no such structure; it has spleen"]


def test_atlases_that_disagree_give_none() -> None:
    """The same atlas three times, two of them under maps that are wrong in different ways."""
    copies = [replace(atlas(f"copy-{number}"), volume=replace(then().volume)) for number in range(3)]
    wrong = [Alignment(transform=sitk.TranslationTransform(3, move), similarity=0.0) for move in ((0.0, 90.0, 0.0), (0.0, -90.0, 0.0))]
    maps: Alignments = {(id(one.volume), True): alignment for one, alignment in zip(copies, (bent(), *wrong), strict=True)}
    found = prompted(*copies, alignments=maps)
    assert found.objects == ()
    assert found.missing[0].reason.startswith(("the atlases disagree", "the structure lies outside"))
    assert len(prompted(*copies, alignments={(id(one.volume), True): bent() for one in copies}).objects) == 1


def test_the_majority_is_what_at_least_half_say_and_agreement_is_the_median_dice_with_it() -> None:
    masks = [np.zeros((1, 10, 10), np.bool_) for _ in range(3)]
    for mask, end in zip(masks, (4, 6, 8), strict=True):
        mask[0, 2:4, 2:end] = True
    most = majority(masks)
    assert np.flatnonzero(most[0, 2]).tolist() == [2, 3, 4, 5]
    assert agreement(masks, most) == pytest.approx(np.median([2 * 4 / 12, 1.0, 2 * 8 / 20]))


def test_one_atlas_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="expected each atlas once"):
        plan(target(prompt={"kind": "atlas", "files": ["a.npz", "a.npz"]}))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    write_atlas(tmp_path / "abdomen.npz", atlas())
    read = read_atlas(tmp_path / "abdomen.npz")
    assert (read.name, read.modality, read.source, read.licence) == ("abdomen", "CT", "made up", "none needed")
    assert [(one.label, one.type) for one in read.structures] == [("liver", Code(**LIVER)), ("spleen", None)]
    np.testing.assert_array_equal(read.volume.voxels, then().volume.voxels)
    np.testing.assert_array_equal(read.volume.affine, then().volume.affine)
    for one in read.structures:
        np.testing.assert_array_equal(one.mask, then().masks[one.label])


@pytest.mark.parametrize("damage", ["cut", "other", "text", "absent"])
def test_what_is_no_atlas_is_refused_with_its_cure(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "abdomen.npz"
    if damage == "cut":
        write_atlas(file, atlas())
        file.write_bytes(file.read_bytes()[:5000])
    elif damage == "other":
        np.savez(file, imgs=np.zeros(3))
    elif damage == "text":
        file.write_text("rules:")
    with pytest.raises(InvalidAtlas, match=r"abdomen.npz: not a readable atlas .*medsam2d atlas build"):
        read_atlas(file)


def test_structures_must_have_voxels_and_names_of_their_own() -> None:
    with pytest.raises(InvalidAtlas, match="different label"):
        atlas(labels=("liver", "liver"))
    with pytest.raises(InvalidAtlas, match="at least one structure"):
        atlas(labels=())
