"""Convolution kernels: how sharp a reconstruction is, by the names that scanners give (Convolution Kernel, 0018,1210).

There is no standard for these names. The figures are an order for ranking, from 0 (smooth, soft tissue) to 100 (bone, edges), by
what the makers' names say; they measure nothing. A name that is not known has none, and ranks last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAMED: Mapping[str, float] = {
    # GE
    "SOFT": 20.0,
    "STANDARD": 30.0,
    "STND": 30.0,
    "CHST": 40.0,
    "DETAIL": 45.0,
    "LUNG": 60.0,
    "BONE": 70.0,
    "BONEPLUS": 80.0,
    "EDGE": 90.0,
    # Philips: letters, the later the sharper
    "A": 20.0,
    "B": 30.0,
    "C": 40.0,
    "L": 60.0,
    "YA": 65.0,
    "YB": 70.0,
    "YC": 75.0,
    "D": 75.0,
    "E": 85.0,
}
SIEMENS = re.compile(r"[A-Z]{1,2}(\d\d)[A-Z]?")
"""B30f, I41s, Br40d, Bl57f, Hr68: the number is the sharpness."""
CANON = re.compile(r"FC(\d\d)")
CANON_FAMILIES: Mapping[int, float] = {0: 25.0, 1: 30.0, 2: 25.0, 3: 75.0, 4: 40.0, 5: 60.0, 6: 35.0, 7: 45.0, 8: 80.0}
"""FC: the tens name a family (body 0 and 1, head 2, bone 3, lung 5, high resolution 8), the units the step in it."""


def sharpness(kernel: str) -> float | None:
    """Return how sharp a kernel is, 0 to 100; None for a name that is not known."""
    name = kernel.strip().upper()
    if name in NAMED:
        return NAMED[name]
    if found := CANON.fullmatch(name):
        tens, units = divmod(int(found[1]), 10)
        return CANON_FAMILIES[tens] + units / 10 if tens in CANON_FAMILIES else None
    found = SIEMENS.fullmatch(name)
    return float(found[1]) if found else None
