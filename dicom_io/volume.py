"""What the model sees: a Volume of voxels in patient space, or a FrameStack of frames without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_io.geometry import Float64, spacing_mm


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """The instance, and the frame in it, that one slice came from."""

    path: Path | None
    """The Part 10 file that holds the instance; None for volumes that no DICOM file stands behind."""
    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int = 1
    """Counts from 1, as ReferencedFrameNumber does (PS3.3 table 10-3)."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Voxels on a regular grid in patient space.

    `voxels`: (k, j, i) float32, in `unit`; the rescaled value where that is empty (PS3.3 C.11.1).
    `affine`: 4x4 float64, (k, j, i, 1) -> (x, y, z, 1) in LPS millimetres, voxel centre; sheared where the gantry was tilted.
    `sources[k]` is the instance (and frame) that `voxels[k]` was decoded from; None for a bridged slice.
    """

    voxels: NDArray[np.float32]
    affine: Float64
    frame_of_reference_uid: str
    sources: tuple[SourceFrame | None, ...]
    quirks: tuple[str, ...] = field(default=())
    """Codes of what is unusual about the series but was handled, for reports (for example `overlapping-slices`)."""
    unit: str = ""
    """HU for CT; SUVbw for PET where it can be computed, else its header's Units (BQML, CNTS, ...); empty where arbitrary."""
    padding: NDArray[np.bool_] | None = None
    """(k, j, i) True where the scanner wrote its padding value: outside of the image, whatever the number says."""

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3:
            raise ValueError(f"voxels: expected 3 axes (k, j, i), got shape {self.voxels.shape}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"affine: expected shape (4, 4), got {self.affine.shape}")
        if len(self.sources) != self.voxels.shape[0]:
            raise ValueError(f"sources: expected one a slice ({self.voxels.shape[0]}), got {len(self.sources)}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(dk, dj, di) in millimetres."""
        return spacing_mm(self.affine)

    @property
    def sent(self) -> tuple[SourceFrame, ...]:
        """The sources of the slices that were sent, in the order of k."""
        return tuple(source for source in self.sources if source is not None)

    @property
    def bridged(self) -> tuple[int, ...]:
        """Slices k that nobody sent, interpolated between their neighbours so that an object can be followed across.

        Results are written on the other slices alone.
        """
        return tuple(k for k, source in enumerate(self.sources) if source is None)


@dataclass(frozen=True, kw_only=True)
class FrameStack:
    """Frames without a place in the patient: ultrasound and endoscopy cine, single radiographs.

    `frames`: (t, row, column) or (t, row, column, 3) for RGB, uint8 or uint16; high values are bright.
    """

    frames: NDArray[np.uint8] | NDArray[np.uint16]
    sources: tuple[SourceFrame, ...]
    frame_time_ms: float | None = None

    def __post_init__(self) -> None:
        if self.frames.ndim not in (3, 4) or (self.frames.ndim == 4 and self.frames.shape[3] != 3):
            raise ValueError(f"frames: expected (t, row, column) or (t, row, column, 3), got shape {self.frames.shape}")
        if len(self.sources) != self.frames.shape[0]:
            raise ValueError(f"sources: expected one a frame ({self.frames.shape[0]}), got {len(self.sources)}")
