"""Graphic types that SR and presentation states share, as shapes in patient millimetres (PS3.3 C.18.6, C.18.9 and C.10.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from dicom_io.annotations.annotation import Contours, Ellipsoid, Line, Points, Shape
from dicom_io.annotations.image_places import ImagePlace
from dicom_io.errors import MalformedAnnotation
from dicom_io.geometry import Float64
from dicom_io.values import shown_word

ROUND_POINTS = 360
"""Corners of the polygon that stands for a circle or an ellipse: it leaves the curve by less than 4e-5 of the radius."""
CLOSED_TOLERANCE_MM = 1e-3
"""First and last point nearer than this are one: the outline is closed."""

Purpose: TypeAlias = Literal["region", "line"]
"""Whether a graphic is meant to enclose something."""

_COUNTS = {"POINT": 1, "ELLIPSE": 4, "ELLIPSOID": 6}
"""Points of the types that have a fixed number."""


def coordinates(data: Sequence[float], dimensions: int) -> Float64:
    """Return Graphic Data as points (n, dimensions); raises MalformedAnnotation where it does not divide or is empty."""
    if not data or len(data) % dimensions or not np.isfinite(data).all():
        raise MalformedAnnotation(f"expected finite coordinates in groups of {dimensions}, got {len(data)}; export the annotation again")
    return np.asarray(data, np.float64).reshape(-1, dimensions)


def image_shape(graphic: str, corner_xy: Float64, place: ImagePlace, purpose: Purpose) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a graphic in image coordinates (n, 2), corner-based, on one frame, with notes; raises as `shape_of`.

    A circle is round in pixels: on pixels that are not square it is an ellipse in the patient.
    """
    if graphic != "CIRCLE":
        return shape_of(graphic, place.to_lps(corner_xy), purpose)
    if len(corner_xy) != 2:
        raise MalformedAnnotation(f"CIRCLE: expected centre and a point of the rim, got {len(corner_xy)} points; export it again")
    centre, radius = corner_xy[0], float(np.linalg.norm(corner_xy[1] - corner_xy[0]))
    ends = centre + radius * np.array([(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)])
    return shape_of("ELLIPSE", place.to_lps(ends), purpose)


def shape_of(graphic: str, points_mm: Float64, purpose: Purpose) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape of a graphic type and its points (n, 3), with notes.

    An open polyline that is meant as a region is closed, and noted. Raises MalformedAnnotation for a wrong number of points
    or an unknown type.
    """
    if graphic not in _SHAPES:
        raise MalformedAnnotation(f"expected a graphic type of {', '.join(sorted(_SHAPES))}, got {shown_word(graphic)}")
    expected = _COUNTS.get(graphic, len(points_mm))
    if len(points_mm) != expected:
        raise MalformedAnnotation(f"{graphic}: expected {expected} points, got {len(points_mm)}; export the annotation again")
    return _SHAPES[graphic](points_mm, purpose)


def closed_outline(points_mm: Float64) -> Float64:
    """Return an outline without its last point where that repeats the first; raises MalformedAnnotation below three points."""
    outline = points_mm[:-1] if _is_closed(points_mm) else points_mm
    if len(outline) < 3:
        raise MalformedAnnotation(f"outline: expected at least 3 different points, got {len(outline)}; draw it again")
    return outline


def _polyline(points_mm: Float64, purpose: Purpose) -> tuple[Shape, tuple[str, ...]]:
    if len(points_mm) < 2:
        raise MalformedAnnotation(f"POLYLINE: expected at least 2 points, got {len(points_mm)}; export the annotation again")
    if len(points_mm) >= 4 and _is_closed(points_mm):
        return Contours(outlines_mm=(closed_outline(points_mm),)), ()
    if purpose == "region" and len(points_mm) >= 3:
        return Contours(outlines_mm=(closed_outline(points_mm),)), ("closed-by-reader",)
    return Line(points_mm=points_mm), ()


def _is_closed(points_mm: Float64) -> bool:
    return bool(np.linalg.norm(points_mm[0] - points_mm[-1]) < CLOSED_TOLERANCE_MM)


def _points(points_mm: Float64, _: Purpose) -> tuple[Shape, tuple[str, ...]]:
    return Points(points_mm=points_mm), ()


def _polygon(points_mm: Float64, _: Purpose) -> tuple[Shape, tuple[str, ...]]:
    return Contours(outlines_mm=(closed_outline(points_mm),)), ()


def _ellipse(points_mm: Float64, _: Purpose) -> tuple[Shape, tuple[str, ...]]:
    """Two ends of the major axis, then two of the minor one; any linear image of an ellipse keeps this form."""
    centre, first, second = points_mm.mean(axis=0), (points_mm[1] - points_mm[0]) / 2, (points_mm[3] - points_mm[2]) / 2
    if not np.linalg.norm(np.cross(first, second)) > 0.0:
        raise MalformedAnnotation("ellipse: expected two axes of some length and different direction, got none; draw it again")
    angles = 2.0 * np.pi * np.arange(ROUND_POINTS)[:, np.newaxis] / ROUND_POINTS
    return Contours(outlines_mm=(centre + np.cos(angles) * first + np.sin(angles) * second,)), ()


def _ellipsoid(points_mm: Float64, _: Purpose) -> tuple[Shape, tuple[str, ...]]:
    """Two ends of each of three axes (PS3.3 C.18.9.1.2)."""
    semi_axes = (points_mm[1::2] - points_mm[::2]) / 2
    if not abs(np.linalg.det(semi_axes)) > 0.0:
        raise MalformedAnnotation("ELLIPSOID: expected three axes that span a volume, got flat ones; draw it again")
    return Ellipsoid(centre_mm=points_mm.mean(axis=0), semi_axes_mm=semi_axes), ()


_SHAPES: Mapping[str, Callable[[Float64, Purpose], tuple[Shape, tuple[str, ...]]]] = {
    "POINT": _points,
    "MULTIPOINT": _points,
    "POLYLINE": _polyline,
    "INTERPOLATED": _polyline,
    "POLYGON": _polygon,
    "ELLIPSE": _ellipse,
    "ELLIPSOID": _ellipsoid,
}
