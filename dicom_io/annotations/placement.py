"""Placing an annotation on a volume: pure geometry from patient millimetres to voxel indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from dicom_io.annotations.annotation import (
    Annotation,
    Annotations,
    Axes,
    Contours,
    Ellipsoid,
    Line,
    Mask,
    Points,
    RejectedItem,
    SegmentReference,
)
from dicom_io.annotations.placed import (
    Edges,
    PlacedAnnotation,
    PlacedAxes,
    PlacedLine,
    PlacedMask,
    PlacedPoints,
    PlacedShape,
    nearest_slice,
)
from dicom_io.annotations.plane_regions import sample
from dicom_io.annotations.regions import stacks_of_contours, stacks_of_mask
from dicom_io.errors import AnnotationElsewhere, UnplacedAnnotation, UnusableAnnotation
from dicom_io.geometry import Float64, kji_to_lps, lps_to_kji
from dicom_io.values import shown_uid
from dicom_io.volume import Volume

Placed: TypeAlias = tuple[PlacedShape, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class PlacedAnnotations:
    """What lies on a volume, and what does not and why."""

    placed: tuple[PlacedAnnotation, ...] = ()
    rejected: tuple[RejectedItem, ...] = ()


def place(annotation: Annotation, volume: Volume, series_uid: str = "") -> PlacedAnnotation:
    """Return an annotation on `volume`, a volume of series `series_uid`.

    It must share the volume's frame of reference, or refer to one of the volume's own instances (a few systems copy contours
    with a frame of reference of their own); anything else has no known place here. Raises AnnotationElsewhere for those and for
    shapes outside of the volume, UnplacedAnnotation for references that were not resolved, MalformedAnnotation for outlines
    that are not flat.
    """
    drawn_here = _drawn_here(annotation, volume, series_uid)
    same_frame = bool(annotation.frame_of_reference_uid) and annotation.frame_of_reference_uid == volume.frame_of_reference_uid
    refers = _refers_to(annotation, volume)
    if not same_frame and not refers:
        raise AnnotationElsewhere(
            f"expected frame of reference {shown_uid(volume.frame_of_reference_uid)}, or a reference to an image of this series, "
            f"got frame of reference {shown_uid(annotation.frame_of_reference_uid)}; register the series, or draw on this one"
        )
    shape, notes = _PLACERS[type(annotation.shape)](annotation.shape, volume)
    foreign = ("frame-of-reference-differs",) if annotation.frame_of_reference_uid and not same_frame else ()
    if foreign and "resampled" in notes:
        raise AnnotationElsewhere(
            "expected a shape on the slices that it refers to, since its frame of reference is another one, got one between them; "
            "export it again from the system that drew it"
        )
    return PlacedAnnotation(
        shape=shape,
        kind=annotation.source.kind,
        graphic=annotation.graphic,
        sop_instance_uid=annotation.source.sop_instance_uid,
        item=annotation.source.item,
        drawn_here=drawn_here,
        label=annotation.label,
        concept=annotation.concept,
        site=annotation.site,
        tracking_id=annotation.tracking_id,
        tracking_uid=annotation.tracking_uid,
        creator=annotation.creator,
        algorithm_type=annotation.algorithm_type,
        notes=tuple(sorted({*annotation.notes, *notes, *foreign})),
    )


def place_all(annotations: Annotations, volume: Volume, series_uid: str = "") -> PlacedAnnotations:
    """Return the annotations that lie on `volume`, and those that do not with the reason; what was rejected before comes first."""
    placed, rejected = [], list(annotations.rejected)
    for annotation in annotations.found:
        try:
            placed.append(place(annotation, volume, series_uid))
        except UnusableAnnotation as error:
            source = annotation.source
            rejected.append(RejectedItem(sop_instance_uid=source.sop_instance_uid, item=source.item, code=error.code, reason=str(error)))
    return PlacedAnnotations(placed=tuple(placed), rejected=tuple(rejected))


def masks_on(annotations: Iterable[Annotation], volume: Volume) -> tuple[tuple[Annotation, NDArray[np.bool_]], ...]:
    """Return every contour set, ellipsoid and segment that covers a voxel of `volume` with its mask (k, j, i) bool.

    For measuring and training: the masks of a structure set or segmentation on the grid of a series. Other shapes, references
    that were not resolved, and what lies elsewhere are left out. Raises MalformedAnnotation for outlines that are not flat.
    """
    found = []
    for annotation in annotations:
        if not isinstance(annotation.shape, Contours | Ellipsoid | Mask):
            continue
        try:
            shape = place(annotation, volume).shape
        except AnnotationElsewhere:
            continue
        if isinstance(shape, PlacedMask):
            found.append((annotation, shape.volume(cast(tuple[int, int, int], volume.voxels.shape))))
    return tuple(found)


def _drawn_here(annotation: Annotation, volume: Volume, series_uid: str) -> bool:
    """Whether it names this series or one of its instances; one that names no series at hand was drawn in the patient."""
    if not annotation.series_uids:
        return True
    return series_uid in annotation.series_uids or _refers_to(annotation, volume)


def _refers_to(annotation: Annotation, volume: Volume) -> bool:
    own = {source.sop_instance_uid for source in volume.sent}
    return any(image.sop_instance_uid in own for image in annotation.images)


def _points(shape: Points, volume: Volume) -> Placed:
    kji = lps_to_kji(volume.affine, shape.points_mm)
    inside = _inside(kji, volume)
    if not inside.any():
        raise _outside(kji, volume)
    return PlacedPoints(kji=kji[inside]), () if inside.all() else ("clipped",)


def _line(shape: Line, volume: Volume) -> Placed:
    kji = lps_to_kji(volume.affine, shape.points_mm)
    return PlacedLine(kji=kji, tip=shape.tip), _judged(kji, volume)


def _axes(shape: Axes, volume: Volume) -> Placed:
    long_kji = lps_to_kji(volume.affine, shape.long_mm)
    short_kji = None if shape.short_mm is None else lps_to_kji(volume.affine, shape.short_mm)
    ends = long_kji if short_kji is None else np.concatenate([long_kji, short_kji])
    return PlacedAxes(long_kji=long_kji, short_kji=short_kji), _judged(ends, volume)


def _contours(shape: Contours, volume: Volume) -> Placed:
    sampled = sample(stacks_of_contours(shape), volume)
    if sampled.mask is not None:
        drawn_here = "resampled" not in sampled.notes
        return (replace(sampled.mask, outlines=_extents(shape, volume)) if drawn_here else sampled.mask), sampled.notes
    # Too small to cover a voxel's centre, yet drawn: its points still say where.
    largest = max(shape.outlines_mm, key=lambda outline: float(np.linalg.norm(np.ptp(outline, axis=0))))
    kji = lps_to_kji(volume.affine, largest)
    return PlacedLine(kji=kji), (*sampled.notes, *_judged(kji, volume), "smaller-than-a-voxel")


def _extents(shape: Contours, volume: Volume) -> dict[int, Edges]:
    """Slice -> extent of the outlines on it, which lie on slices of the volume."""
    points: dict[int, list[Float64]] = {}
    for outline in shape.outlines_mm:
        kji = lps_to_kji(volume.affine, outline)
        points.setdefault(nearest_slice(kji), []).append(kji)
    extents = {}
    for k, outlines in points.items():
        together = np.concatenate(outlines)
        (top, left), (bottom, right) = together[:, 1:].min(axis=0), together[:, 1:].max(axis=0)
        extents[k] = (float(left), float(top), float(right), float(bottom))
    return extents


def _mask(shape: Mask, volume: Volume) -> Placed:
    sampled = sample(stacks_of_mask(shape), volume)
    if sampled.mask is None:
        raise AnnotationElsewhere(
            f"expected a segment on the volume of {volume.voxels.shape} voxels (k, j, i), got one that covers none of them; "
            "draw it on this series"
        )
    return sampled.mask, sampled.notes


def _ellipsoid(shape: Ellipsoid, volume: Volume) -> Placed:
    """Solve |A^-1 (p - c)| <= 1 at the voxel centres of the bounding box; rows of `semi_axes_mm` are the columns of A."""
    reach = np.abs(shape.semi_axes_mm).sum(axis=0)
    corners = shape.centre_mm + reach * np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    kji = lps_to_kji(volume.affine, corners)
    low = np.maximum(np.ceil(kji.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(kji.max(axis=0)), np.array(volume.voxels.shape) - 1).astype(int)
    if (low > high).any():
        raise _outside(kji, volume)
    grid = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    offset = kji_to_lps(volume.affine, grid.astype(np.float64)) - shape.centre_mm
    unit = offset @ np.linalg.inv(shape.semi_axes_mm)
    block = np.asarray((unit**2).sum(axis=-1) <= 1.0)
    if not block.any():
        return _points(Points(points_mm=shape.centre_mm[np.newaxis]), volume)[0], ("smaller-than-a-voxel",)
    return PlacedMask(start=(int(low[0]), int(low[1]), int(low[2])), block=block), ()


def _unresolved(shape: SegmentReference, _: Volume) -> Placed:
    raise UnplacedAnnotation(
        f"expected segmentation {shown_uid(shape.sop_instance_uid)} with segment {shape.segment_number}, "
        "got a report that speaks of it alone; send the segmentation together with the report"
    )


_PLACERS: Mapping[type, Callable[..., Placed]] = {
    Points: _points,
    Line: _line,
    Axes: _axes,
    Contours: _contours,
    Mask: _mask,
    Ellipsoid: _ellipsoid,
    SegmentReference: _unresolved,
}


def _inside(kji: Float64, volume: Volume) -> NDArray[np.bool_]:
    """Whether each point lies in a voxel: voxels reach half a step beyond their centres."""
    return np.asarray(((kji >= -0.5) & (kji <= np.array(volume.voxels.shape) - 0.5)).all(axis=-1))


def _judged(kji: Float64, volume: Volume) -> tuple[str, ...]:
    """Notes on points that belong together; raises AnnotationElsewhere if none lies in the volume."""
    inside = _inside(kji, volume)
    if not inside.any():
        raise _outside(kji, volume)
    # Half a slice would round to another one.
    crosses = float(np.ptp(kji[:, 0])) > 0.5
    return (*(() if inside.all() else ("clipped",)), *(("crosses-slices",) if crosses else ()))


def _outside(kji: Float64, volume: Volume) -> AnnotationElsewhere:
    k, j, i = kji.mean(axis=0)
    return AnnotationElsewhere(
        f"expected a place within the volume of {volume.voxels.shape} voxels (k, j, i), got ({k:.1f}, {j:.1f}, {i:.1f}); "
        "draw it on this series"
    )
