"""The slices of one volume before their pixels are read: each frame with its place, and a stack of them that was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicom_io.errors import RejectedInput
from dicom_io.frame_attributes import numbers
from dicom_io.geometry import Float64, PlaneGeometry
from dicom_io.instance import InstanceHeader


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesFrame:
    """One slice of a series: the instance it is stored in, its number in it (from 1) and its place."""

    header: InstanceHeader
    frame_number: int
    plane: PlaneGeometry
    shape: tuple[int, int]
    """Rows and columns."""

    @property
    def name(self) -> str:
        """What a person at a PACS finds the image by."""
        suffix = f" frame {self.frame_number}" if self.header.number_of_frames > 1 else ""
        return f"{label(self.header)}{suffix}"


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceStack:
    """The slices of one volume, in order, judged to lie on one grid (`dicom_io.volume_reader.read_stack` decodes them)."""

    frames: tuple[SeriesFrame | None, ...]
    """`frames[k]` is the source of slice k; k ascends along row cosines x column cosines. None: a slice that nobody sent,
    which the policy for gaps bridges."""
    shape: tuple[int, int]
    """Rows and columns of every frame."""
    affine: Float64
    """4x4 float64, (k, j, i, 1) -> LPS millimetres, voxel centre; its first column is sheared where the gantry was tilted."""
    frame_of_reference_uid: str
    """Empty where the instances do not state it."""
    attributes: Mapping[str, str | tuple[str, ...]]
    """DICOM keyword -> text, or texts where multi-valued, of the first slice's instance."""
    split: str
    """What tells this volume from the others of its series, for people (`AcquisitionNumber 2`); empty for the only one."""
    quirks: tuple[str, ...]

    @property
    def sent(self) -> tuple[SeriesFrame, ...]:
        """The frames that were sent, in the order of k."""
        return tuple(frame for frame in self.frames if frame is not None)

    @property
    def headers(self) -> tuple[InstanceHeader, ...]:
        """Every instance once, in the order of its first slice."""
        return tuple(dict.fromkeys(frame.header for frame in self.sent))

    def refused(self, error: RejectedInput) -> Refused:
        """Return this volume as one that cannot be processed after all."""
        return Refused(error=error, headers=self.headers, attributes=self.attributes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Frames that should be one volume, not judged yet; `split` and `quirks` are those of the stack that they may become."""

    frames: tuple[SeriesFrame, ...]
    split: str = ""
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Refused:
    """Instances of a series that are no volume, and why."""

    error: RejectedInput
    headers: tuple[InstanceHeader, ...]
    attributes: Mapping[str, str | tuple[str, ...]]
    part: Part | None = None
    """Where another policy for gaps could still make a volume of them."""

    @property
    def reason(self) -> str:
        """One line for people: the stable code, and what is wrong."""
        return f"[{self.error.code}] {self.error}"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason as the only line of a list."""
        return (self.reason,)


def headers_of(frames: Sequence[SeriesFrame]) -> tuple[InstanceHeader, ...]:
    """Return every instance behind the frames once, in their order."""
    return tuple(dict.fromkeys(frame.header for frame in frames))


def label(header: InstanceHeader) -> str:
    """Return what a person at a PACS finds an image by: its instance number, or its UID where it has none."""
    instance_number = numbers(header.dataset, "InstanceNumber")
    return f"image {instance_number[0]:.0f}" if instance_number else f"image {header.sop_instance_uid}"
