"""The one file that converts between coordinate frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.geometry import (
    PlaneGeometry,
    affine_from_planes,
    kji_to_lps,
    lps_to_kji,
    plane_name,
    scoord_to_pixel,
    spacing_mm,
    tilt_degrees,
    voxel_volume_mm3,
)

AXIAL = PlaneGeometry(
    position_mm=(-100.0, -80.0, 50.0),
    row_cosines=(1.0, 0.0, 0.0),
    column_cosines=(0.0, 1.0, 0.0),
    row_spacing_mm=0.9,
    column_spacing_mm=0.5,
)


def test_an_axial_affine_puts_columns_along_x_and_rows_along_y() -> None:
    affine = affine_from_planes(AXIAL, (0.0, 0.0, 2.5))
    assert kji_to_lps(affine, (2, 3, 4)).tolist() == pytest.approx([-100 + 4 * 0.5, -80 + 3 * 0.9, 50 + 2 * 2.5])
    assert spacing_mm(affine) == pytest.approx((2.5, 0.9, 0.5))
    assert voxel_volume_mm3(affine) == pytest.approx(2.5 * 0.9 * 0.5)
    assert plane_name(affine) == "axial"


def test_the_normal_of_an_axial_slice_points_to_the_head() -> None:
    assert AXIAL.normal.tolist() == [0.0, 0.0, 1.0]
    assert AXIAL.distance_mm == 50.0


def test_a_sheared_stack_has_the_tilt_of_its_shear() -> None:
    affine = affine_from_planes(AXIAL, (0.0, 2.5 * np.tan(np.radians(14.0)), 2.5))
    assert tilt_degrees(affine) == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [((0, 1, 0), (0, 0, -1), "sagittal"), ((1, 0, 0), (0, 0, -1), "coronal"), ((1, 0, 0), (0, 0.8, 0.6), "oblique")],
)
def test_planes_are_named_by_their_normal(row: tuple[float, ...], column: tuple[float, ...], name: str) -> None:
    plane = PlaneGeometry(
        position_mm=(0, 0, 0),
        row_cosines=(row[0], row[1], row[2]),
        column_cosines=(column[0], column[1], column[2]),
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
    )
    assert plane_name(affine_from_planes(plane, plane.normal * 3)) == name


@given(st.lists(st.floats(-500, 500), min_size=3, max_size=3), st.floats(0.2, 5), st.floats(0.2, 5), st.floats(-3, 3))
def test_a_point_returns_from_voxel_indices_to_the_same_millimetres(point: list[float], dj: float, di: float, angle: float) -> None:
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    plane = PlaneGeometry(
        position_mm=(1.0, 2.0, 3.0),
        row_cosines=(cosine, sine, 0),
        column_cosines=(-sine, cosine, 0),
        row_spacing_mm=dj,
        column_spacing_mm=di,
    )
    affine = affine_from_planes(plane, plane.normal * 2.0)
    assert kji_to_lps(affine, lps_to_kji(affine, point)) == pytest.approx(np.asarray(point), abs=1e-6)


def test_structured_report_coordinates_are_half_a_pixel_from_pixel_indices() -> None:
    assert scoord_to_pixel(0.5, 10.0) == (0.0, 9.5)
