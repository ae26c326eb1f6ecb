"""Registration: where the voxels of one volume lie in another, first by an affine map, then bent by a B-spline.

Everything happens in patient millimetres, so that volumes of any spacing, orientation and position meet. Both steps maximise the
mutual information of grey levels (Mattes 2003), which needs neither the same modality nor the same window. One thread and
seeded samples make a rerun give the same map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.volume import Volume
from rules.simple_itk import sitk
from rules.voxel_regions import Mask

GRID_MM = 2.5
"""Spacing that both volumes are thinned to: prompts need millimetres, not tenths."""
COARSE_MM = 8.0
"""Voxels of the first search over all shifts."""
LEAST_OVERLAP = 0.5
"""Of the smaller volume, for a shift to be considered."""
SAMPLED_SHARE = 0.25
SEED = 4711
HISTOGRAM_BINS = 32
CONTROL_SPACING_MM = 100.0
"""Between the control points of the B-spline's first level; the second halves it: bends of organs, not of vessels."""


FIELD_RIM = 4
"""Voxels of the thinned grid that displacements are carried on beyond it: half a thick slice."""


LEAST_CUBES = 16
"""Along every side of a thinned volume: the coarsest level of the search then still has four."""


class NotAlignable(Exception):
    """No map lays one volume upon the other."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """A map from the patient millimetres of `fixed` to those of `moving`, and how alike the grey levels are under it."""

    transform: Any
    similarity: float
    """Mutual information in nats; 0 for unrelated images."""


def align(fixed: Volume, moving: Volume, *, deformable: bool = True) -> Alignment:
    """Return the map under which `moving` looks most like `fixed`.

    Raises NotAlignable where there is none: a volume of a few centimetres, or of one grey level.
    """
    with _one_thread():
        fixed_image, moving_image = thinned(fixed), thinned(moving)
        for image in (fixed_image, moving_image):
            if min(image.GetSize()) < LEAST_CUBES:
                sides = " x ".join(f"{size * GRID_MM:g}" for size in reversed(image.GetSize()))
                raise NotAlignable(f"expected volumes of at least {LEAST_CUBES * GRID_MM:g} mm on every side, got one of {sides} mm")
        try:
            return _aligned(fixed_image, moving_image, deformable=deformable)
        except RuntimeError as error:
            raise NotAlignable("the volumes have too little in common to be laid upon each other") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads round differently from run to run, and workers share the machine."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _aligned(fixed: Any, moving: Any, *, deformable: bool) -> Alignment:
    start = _best_shift(fixed, moving)
    rigid, _ = _optimised(fixed, moving, sitk.Euler3DTransform(start), (4, 2), learning_rate=2.0)
    affine_start = sitk.AffineTransform(3)
    affine_start.SetMatrix(rigid.GetMatrix())
    affine_start.SetTranslation(rigid.GetTranslation())
    affine_start.SetCenter(rigid.GetCenter())
    affine, similarity = _optimised(fixed, moving, affine_start, (4, 2), learning_rate=1.0)
    if not deformable:
        return Alignment(transform=affine, similarity=similarity)
    bent, similarity = _bent(fixed, moving, affine)
    return Alignment(transform=bent, similarity=similarity)


def carry_mask(mask: Mask, moving: Volume, fixed: Volume, alignment: Alignment) -> Mask:
    """Return a mask of `moving`, bool (k, j, i), on the grid of `fixed`."""
    source = _placed(sitk.GetImageFromArray(mask.astype(np.float32)), moving)
    grid = _placed(sitk.GetImageFromArray(np.zeros(fixed.voxels.shape, np.uint8)), fixed)
    carried = sitk.Resample(source, grid, alignment.transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(carried) >= 0.5, np.bool_)


def thinned(volume: Volume) -> Any:
    """Return the volume as an image of cubes of `GRID_MM`, its grey levels cut at the 1st and 99th percentile.

    Thick slices are interpolated, so that coarser levels of the search thin all axes alike.
    """
    low, high = np.percentile(volume.voxels[:: max(1, volume.voxels.shape[0] // 32), ::4, ::4], (1.0, 99.0))
    image = _placed(sitk.GetImageFromArray(np.clip(volume.voxels, low, high).astype(np.float32)), volume)
    # Averages first: picking single voxels out of a fine grid would keep their noise.
    factors = [max(1, int(GRID_MM / step)) for step in image.GetSpacing()]
    averaged = sitk.BinShrink(image, factors) if max(factors) > 1 else image
    return sitk.Resample(averaged, _cubes(averaged, GRID_MM), sitk.Transform(), sitk.sitkLinear, float(low), sitk.sitkFloat32)


def _optimised(fixed: Any, moving: Any, start: Any, shrinks: tuple[int, ...], learning_rate: float) -> tuple[Any, float]:
    method = _method(shrinks)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=learning_rate, minStep=1e-3, numberOfIterations=120, gradientMagnitudeTolerance=1e-5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start, -float(method.GetMetricValue())


def _bent(fixed: Any, moving: Any, affine: Any) -> tuple[Any, float]:
    domain = _widened_grid(fixed, 1)
    extent = [size * step for size, step in zip(domain.GetSize(), domain.GetSpacing(), strict=True)]
    spline = sitk.BSplineTransformInitializer(domain, [max(1, round(length / CONTROL_SPACING_MM)) for length in extent])
    method = _method((4, 2))
    method.SetMovingInitialTransform(affine)
    # Coarse bends first: fine ones alone end in folds where the start is centimetres off.
    method.SetInitialTransformAsBSpline(spline, inPlace=True, scaleFactors=[1, 2])
    method.SetOptimizerAsLBFGS2(numberOfIterations=30, solutionAccuracy=1e-4)
    method.Execute(fixed, moving)
    return _as_field(sitk.CompositeTransform([affine, spline]), fixed), -float(method.GetMetricValue())


def _as_field(transform: Any, fixed: Any) -> Any:
    """Return a transform as displacements on the grid of `fixed`: a spline costs seconds each time a whole volume asks it."""
    grid = (fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection())
    moves = sitk.GetArrayFromImage(sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, *grid))
    # A volume's voxels reach beyond the centres of the thinned grid, where a field would know of no displacement.
    field = sitk.GetImageFromArray(np.pad(moves, [(FIELD_RIM, FIELD_RIM)] * 3 + [(0, 0)], mode="edge"), isVector=True)
    wide = _widened_grid(fixed, FIELD_RIM)
    for name in ("Origin", "Spacing", "Direction"):
        getattr(field, f"Set{name}")(getattr(wide, f"Get{name}")())
    return sitk.DisplacementFieldTransform(field)


def _widened_grid(image: Any, rim: int) -> Any:
    """Return an empty image of the same voxels with `rim` more on every side."""
    grid = sitk.Image([size + 2 * rim for size in image.GetSize()], sitk.sitkUInt8)
    grid.SetSpacing(image.GetSpacing())
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.TransformIndexToPhysicalPoint([-rim] * 3))
    return grid


def _method(shrinks: tuple[int, ...]) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED_SHARE, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(list(shrinks))
    method.SetSmoothingSigmasPerLevel([shrink / 2 for shrink in shrinks])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    return method


def _best_shift(fixed: Any, moving: Any) -> Any:
    """Return the translation, with the middle of `fixed` as centre, of the highest normalised correlation over all shifts.

    Volumes of one body part begin and end anywhere: where the middles meet says little. Every shift that lets enough of the
    smaller one overlap is tried, by Fourier transforms (Padfield 2012, masked normalised cross-correlation).
    """
    grid = _cubes(fixed, COARSE_MM)
    shifted = sitk.TranslationTransform(3, (np.array(_middle(moving)) - np.array(_middle(fixed))).tolist())
    levels = [
        np.asarray(sitk.GetArrayFromImage(sitk.Resample(image, grid, place, sitk.sitkLinear, np.nan)), np.float64)
        for image, place in ((fixed, sitk.Transform()), (moving, shifted))
    ]
    offset = _correlation_peak(*levels)
    direction = np.array(grid.GetDirection()).reshape(3, 3)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(_middle(fixed))
    steps = np.array(offset[::-1], np.float64) * COARSE_MM
    transform.SetTranslation((np.array(_middle(moving)) - np.array(_middle(fixed)) + direction @ steps).tolist())
    return transform


def _correlation_peak(fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> tuple[int, int, int]:
    """Return the shift (k, j, i) s for which moving[x + s] is most like fixed[x]; NaN is outside of an image."""
    shape = [2 * size for size in fixed.shape]
    inside_f, inside_m = np.isfinite(fixed), np.isfinite(moving)
    f, m = np.where(inside_f, fixed, 0.0), np.where(inside_m, moving, 0.0)
    transform = [
        np.fft.rfftn(a, shape, axes=(0, 1, 2)) for a in (inside_f.astype(np.float64), f, f * f, inside_m.astype(np.float64), m, m * m)
    ]
    one_f, sum_f, square_f, one_m, sum_m, square_m = transform

    def overlap(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.float64]:
        return np.fft.irfftn(np.conj(a) * b, shape, axes=(0, 1, 2))

    count = np.maximum(overlap(one_f, one_m), 1.0)
    mean_f, mean_m = overlap(sum_f, one_m) / count, overlap(one_f, sum_m) / count
    joint = overlap(sum_f, sum_m) / count - mean_f * mean_m
    spread_f = overlap(square_f, one_m) / count - mean_f**2
    spread_m = overlap(one_f, square_m) / count - mean_m**2
    score = joint / np.sqrt(np.maximum(spread_f, 1e-6) * np.maximum(spread_m, 1e-6))
    enough = count >= LEAST_OVERLAP * min(inside_f.sum(), inside_m.sum())
    peak = np.unravel_index(int(np.argmax(np.where(enough, score, -np.inf))), score.shape)
    return tuple(int(at) if at < size else int(at) - 2 * size for at, size in zip(peak, fixed.shape, strict=True))  # type: ignore[return-value]


def _cubes(image: Any, step_mm: float) -> Any:
    """Return an empty image of cubes around the same middle; it reaches as far as the centres of the image's outer voxels do."""
    size = [max(2, int((count - 1) * step / step_mm) + 1) for count, step in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([step_mm] * 3)
    grid.SetDirection(image.GetDirection())
    half = (np.array(size) - 1) / 2 * step_mm
    grid.SetOrigin((np.array(_middle(image)) - np.array(image.GetDirection()).reshape(3, 3) @ half).tolist())
    return grid


def _middle(image: Any) -> tuple[float, float, float]:
    middle: tuple[float, float, float] = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])
    return middle


def _placed(image: Any, volume: Volume) -> Any:
    """Give an image of (k, j, i) the volume's place in the patient; SimpleITK orders axes (i, j, k)."""
    columns: NDArray[np.float64] = volume.affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    return image
