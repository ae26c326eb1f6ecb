"""Organ-like blobs: bent, tapered, twisted ellipses whose centre drifts from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MINIMUM_RADIUS = 0.035
"""Minor radius (fraction of the half width) under which a blob has ended: no slice shows less than a few pixels of it."""


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One tube-like shape. Lengths are fractions of the half width in-plane and of the half height through the slices."""

    x: float
    y: float
    z: float
    half_height: float
    major: float
    minor: float
    angle: float
    twist: float
    """Radians of rotation from the middle slice to an end."""
    bend: float
    """Curvature of the major axis: minor-axis shift, in minor radii, at the tip of the major axis."""
    drift: tuple[float, float]
    """(x, y) shift of the centre from the middle slice to an end."""
    curve: tuple[float, float]
    """(x, y) shift common to both ends."""
    taper: float
    """Exponent p of the radius sqrt(1 - |t|^p): 2 is an ellipsoid, more is blunter."""
    skew: float
    """Relative growth of the radius towards one end."""
    wobble: tuple[float, float, float, float]
    """Outline harmonics: cos 2a, sin 2a, cos 3a, sin 3a."""

    def moved(self, *, x: float, y: float) -> Blob:
        """The same shape at another centre."""
        return replace(self, x=x, y=y)

    def reach(self, direction: float) -> float:
        """Radius of the middle slice along `direction` (radians), without bend and wobble."""
        relative = direction - self.angle
        return 1.0 / float(np.hypot(np.cos(relative) / self.major, np.sin(relative) / self.minor))


def draw_blob(rng: np.random.Generator, *, major: tuple[float, float], half_height: tuple[float, float]) -> Blob:
    """A random blob at the origin, with `major` and `half_height` drawn from their ranges."""
    long_radius = rng.uniform(*major)
    heading = rng.uniform(0, 2 * np.pi)
    drift = long_radius * rng.uniform(0.7, 1.3)
    curve = long_radius * rng.uniform(-0.5, 0.5, 2)
    wobble = rng.normal(0, 1, 4) * np.array([0.06, 0.06, 0.05, 0.05])
    return Blob(
        x=0.0,
        y=0.0,
        z=rng.uniform(-0.25, 0.25),
        half_height=rng.uniform(*half_height),
        major=long_radius,
        minor=long_radius * rng.uniform(0.5, 0.85),
        angle=rng.uniform(0, np.pi),
        twist=rng.uniform(-0.9, 0.9),
        bend=rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.8),
        drift=(drift * np.cos(heading), drift * np.sin(heading)),
        curve=(float(curve[0]), float(curve[1])),
        taper=rng.uniform(1.7, 3.2),
        skew=rng.uniform(-0.35, 0.35),
        wobble=(float(wobble[0]), float(wobble[1]), float(wobble[2]), float(wobble[3])),
    )


def signed_depth(blob: Blob, shape: tuple[int, int, int]) -> Floats:
    """Depth under the blob's surface, (k, j, i) float32 in fractions of the half width: positive inside, about linear near the edge."""
    slices, rows, columns = shape
    depth = np.full(shape, -2.0, dtype=np.float32)
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    for k in range(slices):
        t = ((2.0 * (k + 0.5) / slices - 1.0) - blob.z) / blob.half_height
        if abs(t) < 1.0:
            depth[k] = _slice_depth(blob, t, x, y)
    return depth


def _slice_depth(blob: Blob, t: float, x: Floats, y: Floats) -> Floats:
    scale = float(np.sqrt(1.0 - abs(t) ** blob.taper)) * (1.0 + blob.skew * t)
    major, minor = blob.major * scale, blob.minor * scale
    if minor < MINIMUM_RADIUS:
        return np.full((y.shape[0], x.shape[1]), -2.0, dtype=np.float32)
    dx = x - (blob.x + blob.drift[0] * t + blob.curve[0] * t * t)
    dy = y - (blob.y + blob.drift[1] * t + blob.curve[1] * t * t)
    angle = blob.angle + blob.twist * t
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    u = (dx * cosine + dy * sine) / major
    v = (dy * cosine - dx * sine) / minor
    v = v - blob.bend * (u * u - 0.3)
    radius = np.sqrt(u * u + v * v) + 1e-6
    cos1, sin1 = u / radius, v / radius
    cos2, sin2 = cos1 * cos1 - sin1 * sin1, 2 * cos1 * sin1
    cos3, sin3 = cos2 * cos1 - sin2 * sin1, sin2 * cos1 + cos2 * sin1
    c2, s2, c3, s3 = blob.wobble
    outline = 1.0 + c2 * cos2 + s2 * sin2 + c3 * cos3 + s3 * sin3
    return np.asarray((1.0 - radius / outline) * np.sqrt(major * minor), dtype=np.float32)
