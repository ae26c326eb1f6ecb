"""The even-odd rule against a brute-force count, on edges, in nests and through keyholes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_io.annotations.even_odd import inside_even_odd

GRID = np.stack(np.meshgrid(np.arange(12.0), np.arange(10.0)), axis=-1).reshape(-1, 2)


def square(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def winding_is_odd(point: NDArray[np.float64], outline: NDArray[np.float64]) -> bool:
    """Whether the angles under which the edges are seen from the point add up to an odd number of turns."""
    seen = outline - point
    angles = np.arctan2(seen[:, 1], seen[:, 0])
    steps = np.diff(np.append(angles, angles[0]))
    turns = ((steps + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)
    return round(float(turns)) % 2 == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-2, 14), st.floats(-2, 12)), min_size=3, max_size=9))
def test_any_polygon_even_one_that_crosses_itself_holds_the_points_that_it_winds_around_oddly(corners: list[tuple[float, float]]) -> None:
    outline = np.array(corners) + 0.123456  # off the grid, where both rules agree
    inside = inside_even_odd(GRID, [outline])
    far = [index for index, point in enumerate(GRID) if np.abs(outline - point).min() > 1e-6]
    distances = [_distance_to_edges(GRID[index], outline) for index in far]
    for index, distance in zip(far, distances, strict=True):
        if distance > 1e-6:
            assert inside[index] == winding_is_odd(GRID[index], outline)


def _distance_to_edges(point: NDArray[np.float64], outline: NDArray[np.float64]) -> float:
    ends = np.roll(outline, -1, axis=0)
    edge = ends - outline
    length = np.maximum((edge**2).sum(axis=1), 1e-30)
    along = np.clip(((point - outline) * edge).sum(axis=1) / length, 0.0, 1.0)
    return float(np.linalg.norm(outline + along[:, np.newaxis] * edge - point, axis=1).min())


def test_two_squares_that_share_an_edge_share_no_point_and_lose_none() -> None:
    left, right = square(1, 1, 5, 6), square(5, 1, 9, 6)
    first, second = inside_even_odd(GRID, [left]), inside_even_odd(GRID, [right])
    assert not (first & second).any()
    assert (first | second).sum() == inside_even_odd(GRID, [square(1, 1, 9, 6)]).sum() == 8 * 5


def test_a_square_in_a_square_is_a_hole() -> None:
    ring = inside_even_odd(GRID, [square(0.5, 0.5, 9.5, 8.5), square(3.5, 2.5, 6.5, 5.5)])
    assert ring.sum() == 9 * 8 - 3 * 3


def test_a_keyhole_cuts_its_hole_and_leaves_no_slit() -> None:
    outer, inner = square(0.5, 0.5, 9.5, 8.5), square(3.5, 2.5, 6.5, 5.5)
    # The channel runs through pixel centres: from the left edge to the hole, around it, and back along the same edge.
    at_edge, at_hole = (0.5, 4.0), (3.5, 4.0)
    around = [at_edge, (0.5, 0.5), (9.5, 0.5), (9.5, 8.5), (0.5, 8.5), at_edge]
    keyhole = np.array([*around, at_hole, (3.5, 5.5), (6.5, 5.5), (6.5, 2.5), (3.5, 2.5), at_hole])
    assert (inside_even_odd(GRID, [keyhole]) == inside_even_odd(GRID, [outer, inner])).all()
    walked_twice = np.concatenate([outer, outer[:1], np.array([(5.0, 4.0)]), outer[:1]])
    assert (inside_even_odd(GRID, [walked_twice]) == inside_even_odd(GRID, [outer])).all()


def test_the_direction_of_drawing_does_not_matter() -> None:
    outline = np.array([(1.2, 0.7), (10.4, 3.3), (6.1, 8.8), (2.2, 6.4)])
    assert (inside_even_odd(GRID, [outline]) == inside_even_odd(GRID, [outline[::-1]])).all()
