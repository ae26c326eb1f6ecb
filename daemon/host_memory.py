"""Memory of the host: keep what tensors give back instead of returning it to the kernel and fetching it again page by page.

A slice's tensors come and go many times a second. By default glibc returns each one above some MiB to the kernel, and every fresh
page costs a fault when it is written: about a tenth of an encode on a virtual machine. Volumes (tens of MiB and more) still go back.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT_BYTES = 32 * 1024 * 1024
"""The largest value that glibc takes for M_MMAP_THRESHOLD on 64-bit machines."""
KEPT_FREE_BYTES = 256 * 1024 * 1024


def keep_freed_tensors() -> bool:
    """Set the thresholds for this process; returns False where the C library has no mallopt (it is not glibc)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES))
