"""Recipe `annotation`: what a person drew in the same study becomes the prompt, one object an annotation.

    prompt: {kind: annotation}
    prompt: {kind: annotation, objects: [RTSTRUCT, SEG], labels: "(?i)gtv.*", region_as: mask}
    prompt: {kind: annotation, objects: [SR], concepts: [{value: "52988006", scheme: SCT, meaning: Lesion}], margin_mm: 2}

| drawn                                            | prompt                                                                  |
|--------------------------------------------------|-------------------------------------------------------------------------|
| contours, ellipse, circle, polygon, ellipsoid    | box (or mask) on the slice where it covers most                         |
| segment                                          | mask (or box) on the slice where it covers most                         |
| RECIST long and short axis                       | box around the ellipse that has these axes                              |
| a line between two points                        | box around an ellipse with this longest diameter, `width_ratio` as wide |
| arrow, point                                     | point at the tip                                                        |
| any other line                                   | box around its corners                                                  |

Objects whose annotation carries a tracking identifier keep it. Several drawings of one finding (a contour and its axes, a
report and the segment that it speaks of) give one object, by the drawing that says most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dicom_io.annotations.placed import PlacedAnnotation, PlacedAxes, PlacedLine, PlacedMask, PlacedPoints
from dicom_io.volume import Volume
from model.prompt import MaskPrompt, PointPrompt, Prompt
from rules.concepts import ConceptCode
from rules.pattern import Pattern, compile_pattern, matches
from rules.prompts.box import Edges, clipped_box, nearest
from rules.prompts.extent import Extent, extent_of_mask
from rules.prompts.outcome import Found, FoundObject, NoneFound, PromptOrigin
from rules.scalars import Integer, Number, Section

ObjectName: TypeAlias = Literal["SR", "GSPS", "RTSTRUCT", "SEG"]


class AnnotationRecipe(Section):
    """Annotations of the study that lie on the series; all filters must hold."""

    kind: Literal["annotation"]
    objects: Annotated[tuple[ObjectName, ...], Field(min_length=1)] = ("SR", "GSPS", "RTSTRUCT", "SEG")
    """Kinds of DICOM objects that are looked at."""
    labels: Pattern | None = None
    """Regular expression for the whole ROI name, segment label, tracking identifier or text."""
    concepts: tuple[ConceptCode, ...] = ()
    """Finding, segmented property type, site or region must be one of these (value and scheme)."""
    creators: Pattern | None = None
    """Regular expression for the whole name of who drew it."""
    drawn_by: Literal["person", "algorithm", "anyone"] = "person"
    """person: nothing that calls itself AUTOMATIC, so that results never prompt themselves."""
    drawn_on: Literal["this-series", "frame-of-reference"] = "this-series"
    """frame-of-reference: also what was drawn on other series of the same frame of reference."""
    region_as: Literal["box", "mask"] = "box"
    segment_as: Literal["box", "mask"] = "mask"
    width_ratio: Annotated[Number, Field(gt=0, le=1)] = 0.75
    """Width of an object by its longest diameter, where only that was measured."""
    margin_mm: Annotated[Number, Field(ge=0, le=50)] = 0.0
    """Added to boxes on every side."""
    maximum_objects: Annotated[Integer, Field(ge=1, le=100)] = 20
    """More annotations than this are no prompt at all: nobody wants half of them."""


def find_annotated(recipe: AnnotationRecipe, volume: Volume, annotations: Sequence[PlacedAnnotation]) -> Found:
    """Return one prompt an annotated object, in the order of the annotations, or why there is none (without any free text)."""
    failed = Counter(_reason_against(recipe, annotation) for annotation in annotations)
    fitting = [annotation for annotation in annotations if not _reason_against(recipe, annotation)]
    chosen = _one_an_object(fitting)
    if len(chosen) > recipe.maximum_objects:
        return NoneFound(reason=f"expected at most {recipe.maximum_objects} annotated objects, got {len(chosen)}; raise maximum_objects")
    prompts = [(annotation, _prompt(recipe, annotation, volume)) for annotation in chosen]
    outside = [found.reason for _, found in prompts if isinstance(found, NoneFound)]
    found = tuple(
        FoundObject(prompts=(prompt,), origin=_origin(annotation), extent=_extent(annotation, volume))
        for annotation, prompt in prompts
        if not isinstance(prompt, NoneFound)
    )
    if found:
        return found
    reasons = [f"{count} {reason}" for reason, count in sorted(failed.items()) if reason] + outside
    return NoneFound(reason=f"no annotation to prompt with: {', '.join(reasons) or 'none lies on this series'}")


def _reason_against(recipe: AnnotationRecipe, annotation: PlacedAnnotation) -> str:
    """Return the first filter that an annotation fails, in words for a count; empty if it passes all."""
    automatic = annotation.algorithm_type == "AUTOMATIC"
    concepts = {(code.value, code.scheme) for code in (annotation.concept, annotation.site) if code is not None}
    checks = (
        (annotation.kind in recipe.objects, "of another kind of object"),
        (annotation.drawn_here or recipe.drawn_on == "frame-of-reference", "drawn on another series"),
        (recipe.drawn_by == "anyone" or automatic == (recipe.drawn_by == "algorithm"), f"not drawn by {recipe.drawn_by}"),
        (recipe.labels is None or matches(compile_pattern(recipe.labels), annotation.label), "with another label"),
        (not recipe.concepts or any((code.value, code.scheme) in concepts for code in recipe.concepts), "of another concept"),
        (recipe.creators is None or matches(compile_pattern(recipe.creators), annotation.creator), "by another creator"),
    )
    return next((reason for holds, reason in checks if not holds), "")


def _one_an_object(annotations: Sequence[PlacedAnnotation]) -> list[PlacedAnnotation]:
    """Keep of each object the drawing that says most about it; the first of equals."""
    best: dict[str, PlacedAnnotation] = {}
    for annotation in annotations:
        key = annotation.tracking_uid or f"{annotation.sop_instance_uid} {_finding(annotation)}"
        if key not in best or _rank(annotation) > _rank(best[key]):
            best[key] = annotation
    return list(best.values())


def _finding(annotation: PlacedAnnotation) -> str:
    """What of an object is one finding: a measurement group, a region of interest, a segment; in presentation states each graphic."""
    return annotation.item if annotation.kind == "GSPS" else annotation.item.split(", ")[0]


def _rank(annotation: PlacedAnnotation) -> int:
    return (PlacedPoints, PlacedLine, PlacedAxes, PlacedMask).index(type(annotation.shape))


def _origin(annotation: PlacedAnnotation) -> PromptOrigin:
    return PromptOrigin(
        kind=annotation.kind,
        sop_instance_uid=annotation.sop_instance_uid,
        item=annotation.item,
        tracking_id=annotation.tracking_id,
        tracking_uid=annotation.tracking_uid,
        automatic=annotation.algorithm_type == "AUTOMATIC",
    )


def _extent(annotation: PlacedAnnotation, volume: Volume) -> Extent | None:
    if not isinstance(annotation.shape, PlacedMask):
        return None
    slices, rows, columns = volume.voxels.shape
    return extent_of_mask(annotation.shape.volume((slices, rows, columns)), volume)


def _prompt(recipe: AnnotationRecipe, annotation: PlacedAnnotation, volume: Volume) -> Prompt | NoneFound:
    return _PROMPTS[type(annotation.shape)](recipe, annotation, volume)


def _from_mask(recipe: AnnotationRecipe, annotation: PlacedAnnotation, volume: Volume) -> Prompt | NoneFound:
    shape = annotation.shape
    if not isinstance(shape, PlacedMask):
        raise TypeError(f"expected a mask, got {type(shape).__name__}")
    frame = shape.largest_frame
    if (recipe.segment_as if annotation.graphic in _SEGMENTS else recipe.region_as) == "mask":
        return MaskPrompt(frame=frame, mask=shape.image(frame, (volume.voxels.shape[1], volume.voxels.shape[2])))
    return _box(recipe, frame, shape.edges(frame), volume)


_SEGMENTS = ("BINARY", "FRACTIONAL", "LABELMAP")


def _from_axes(recipe: AnnotationRecipe, annotation: PlacedAnnotation, volume: Volume) -> Prompt | NoneFound:
    shape = annotation.shape
    if not isinstance(shape, PlacedAxes):
        raise TypeError(f"expected axes, got {type(shape).__name__}")
    extent = _ellipse_extent(shape.long_kji, shape.short_kji, volume, recipe.width_ratio)
    return _box(recipe, shape.frame, _touched(extent), volume)


def _from_line(recipe: AnnotationRecipe, annotation: PlacedAnnotation, volume: Volume) -> Prompt | NoneFound:
    shape = annotation.shape
    if not isinstance(shape, PlacedLine):
        raise TypeError(f"expected a line, got {type(shape).__name__}")
    if shape.tip is not None:
        return _point_prompt(shape.kji[shape.tip : shape.tip + 1], volume)
    if len(shape.kji) == 2:
        extent = _ellipse_extent(shape.kji, None, volume, recipe.width_ratio)
    else:
        (top, left), (bottom, right) = shape.kji[:, 1:].min(axis=0), shape.kji[:, 1:].max(axis=0)
        extent = (float(left), float(top), float(right), float(bottom))
    return _box(recipe, shape.frame, _touched(extent), volume)


def _from_points(_: AnnotationRecipe, annotation: PlacedAnnotation, volume: Volume) -> Prompt | NoneFound:
    shape = annotation.shape
    if not isinstance(shape, PlacedPoints):
        raise TypeError(f"expected points, got {type(shape).__name__}")
    return _point_prompt(shape.kji, volume)


_PROMPTS: Mapping[type, Callable[[AnnotationRecipe, PlacedAnnotation, Volume], Prompt | NoneFound]] = {
    PlacedMask: _from_mask,
    PlacedAxes: _from_axes,
    PlacedLine: _from_line,
    PlacedPoints: _from_points,
}


def _point_prompt(kji: NDArray[np.float64], volume: Volume) -> Prompt | NoneFound:
    """Positive points on the slice that has most of them, the first of equals; those outside of the volume are left out."""
    size = np.array(volume.voxels.shape)
    inside = kji[((kji >= -0.5) & (kji < size - 0.5)).all(axis=1)]
    if not len(inside):
        return NoneFound(reason=f"1 with its point outside of the volume of {volume.voxels.shape} voxels (k, j, i)")
    frames = [nearest(float(k)) for k in inside[:, 0]]
    frame = max(sorted(set(frames)), key=frames.count)
    points = tuple((float(i), float(j)) for (_, j, i), at in zip(inside, frames, strict=True) if at == frame)
    return PointPrompt(frame=frame, points=points, labels=(1,) * len(points))


def _touched(extent: Edges) -> Edges:
    """Return the outer edges of the pixels that points at this extent lie in: a caliper's end belongs to the object."""
    left, top, right, bottom = extent
    return nearest(left) - 0.5, nearest(top) - 0.5, nearest(right) + 0.5, nearest(bottom) + 0.5


def _ellipse_extent(long_kji: NDArray[np.float64], short_kji: NDArray[np.float64] | None, volume: Volume, ratio: float) -> Edges:
    """Return the extent of the ellipse of two diameters, in pixels; it always holds the ends of both.

    The half width of an ellipse with the semi-axes a and b is sqrt(a_x**2 + b_x**2). Perpendicular is meant in millimetres.
    """
    _, dj, di = volume.spacing_mm
    scale = np.array([di, dj])
    long_xy = long_kji[:, [2, 1]] * scale
    a = (long_xy[1] - long_xy[0]) / 2
    short_xy = None if short_kji is None else short_kji[:, [2, 1]] * scale
    b = ratio * np.array([-a[1], a[0]]) if short_xy is None else (short_xy[1] - short_xy[0]) / 2
    centre, half = long_xy.mean(axis=0), np.array([math.hypot(a[0], b[0]), math.hypot(a[1], b[1])])
    ends = np.concatenate([[centre - half, centre + half], long_xy, long_xy if short_xy is None else short_xy]) / scale
    (left, top), (right, bottom) = ends.min(axis=0), ends.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _box(recipe: AnnotationRecipe, frame: int, edges: Edges, volume: Volume) -> Prompt | NoneFound:
    _, dj, di = volume.spacing_mm
    left, top, right, bottom = edges
    across, down = recipe.margin_mm / di, recipe.margin_mm / dj
    return clipped_box(frame, (left - across, top - down, right + across, bottom + down), volume)
