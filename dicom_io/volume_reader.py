"""A judged stack of slices becomes a volume: every instance decoded, transformed and laid down in slice order."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dicom_io.codecs import described
from dicom_io.decode import decode_frames
from dicom_io.errors import RejectedInput, UndecodablePixels
from dicom_io.frame_attributes import frame_group
from dicom_io.instance import InstanceHeader
from dicom_io.intensity import modality_transform, padding_mask
from dicom_io.limits import expect_affordable
from dicom_io.series import Series
from dicom_io.slice_stack import Refused, SeriesFrame, SliceStack
from dicom_io.suv import PetScale, pet_scale
from dicom_io.volume import SourceFrame, Volume

DECODING_THREADS = 2
"""Decoders give up Python's lock while they work; more threads than this only take memory from the model."""


def read_volume(series: Series) -> Volume:
    """Decode the one volume of a series; raises what `Series.stack` and `read_stack` do."""
    return read_stack(series.stack)


def read_or_refuse(stack: SliceStack) -> Volume | Refused:
    """Decode a stack, or say why that cannot be: one bad volume of a series does not take the others with it."""
    try:
        return read_stack(stack)
    except RejectedInput as error:
        return stack.refused(error)


def read_stack(stack: SliceStack) -> Volume:
    """Decode the pixels of a stack into one volume: voxels (k, j, i) float32, k ascending along row x column cosines.

    Modality transform, signedness and padding are those of each instance (a PET series has a slope a slice), and PET
    values become SUVbw where the header allows (`dicom_io.suv`). Padding takes the smallest value of the unpadded voxels, so
    that it looks like air and not like metal or a hole of -3024 HU. MONOCHROME1 is left alone: it says how to show numbers,
    not what they are. Slice k lies where `stack.affine` says, to 0.03 mm, since the stack was judged by it.
    Raises NoPixels or UndecodablePixels, and OSError if a file is gone.
    """
    rows, columns = stack.shape
    slices = len(stack.frames)
    expect_affordable(slices * rows * columns, f"series {stack.headers[0].series_instance_uid}")
    voxels = np.empty((slices, rows, columns), np.float32)
    padding = np.zeros((slices, rows, columns), np.bool_) if _states_padding(stack) else None
    scale = pet_scale(stack.headers) if stack.headers[0].modality == "PT" else None
    canvas = _Canvas(voxels=voxels, padding=padding, scale=scale)
    with ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode") as pool:
        _finish(pool.map(lambda part: canvas.lay(part[0], part[1]), _parts(stack)))
    filled = _fill_padding(voxels, padding)
    _bridge(voxels, [k for k, frame in enumerate(stack.frames) if frame is not None])
    return Volume(
        voxels=voxels,
        affine=stack.affine,
        frame_of_reference_uid=stack.frame_of_reference_uid,
        sources=tuple(_source(frame) for frame in stack.frames),
        quirks=tuple(sorted({*stack.quirks, *filled})),
        unit=_unit(stack) if scale is None else scale.unit,
        padding=padding if padding is not None and padding.any() else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """The arrays that the threads fill, each thread its own slices."""

    voxels: NDArray[np.float32]
    padding: NDArray[np.bool_] | None
    scale: PetScale | None

    def lay(self, header: InstanceHeader, slices: dict[int, int]) -> None:
        """Decode an instance and lay its frames down; `slices`: frame number (from 1) -> k."""
        stored = decode_frames(header)
        expected = (header.number_of_frames, *self.voxels.shape[1:])
        if stored.shape != expected:
            raise UndecodablePixels(
                f"{described(header)}: expected frames, rows and columns {expected}, got {stored.shape}; send the image again"
            )
        for number, k in slices.items():
            frame = stored[number - 1]
            self.voxels[k] = modality_transform(frame_group(header.dataset, number, "PixelValueTransformationSequence"), frame)
            if self.scale is not None:
                self.voxels[k] *= np.float32(self.scale.factors[header.sop_instance_uid])
            if not np.isfinite((self.voxels[k].min(), self.voxels[k].max())).all():
                raise UndecodablePixels(
                    f"{described(header)}: expected voxels that are numbers, got some that are none, or infinite; send the image again"
                )
            mask = padding_mask(header.dataset, frame)
            if self.padding is not None and mask is not None:
                self.padding[k] = mask


def _parts(stack: SliceStack) -> list[tuple[InstanceHeader, dict[int, int]]]:
    """Each instance with its frames: frame number -> k."""
    slices: dict[InstanceHeader, dict[int, int]] = {header: {} for header in stack.headers}
    for k, frame in enumerate(stack.frames):
        if frame is not None:
            slices[frame.header][frame.frame_number] = k
    return list(slices.items())


def _source(frame: SeriesFrame | None) -> SourceFrame | None:
    if frame is None:
        return None
    return SourceFrame(
        path=frame.header.path,
        sop_class_uid=frame.header.sop_class_uid,
        sop_instance_uid=frame.header.sop_instance_uid,
        frame_number=frame.frame_number,
    )


def _unit(stack: SliceStack) -> str:
    """HU for CT unless Rescale Type says otherwise (PS3.3 C.11.1.1.2)."""
    stated = str(stack.attributes.get("RescaleType") or "")
    return stated or "HU" if stack.headers[0].modality == "CT" else ""


def _states_padding(stack: SliceStack) -> bool:
    return any("PixelPaddingValue" in header.dataset for header in stack.headers)


def _fill_padding(voxels: NDArray[np.float32], padding: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """Give padded voxels the smallest value of the others, in place; return the quirk if there were any."""
    if padding is None or not padding.any():
        return ()
    if not padding.all():
        voxels[padding] = voxels[~padding].min()
    return ("padding",)


def _bridge(voxels: NDArray[np.float32], sent: list[int]) -> None:
    """Interpolate the slices that were not sent between their neighbours, in place; `sent`: the indices k of the others."""
    for before, after in pairwise(sent):
        for k in range(before + 1, after):
            weight = np.float32((k - before) / (after - before))
            voxels[k] = voxels[before] * (np.float32(1.0) - weight) + voxels[after] * weight


def _finish(results: Iterable[None]) -> None:
    """Wait for all; the first error of a thread is raised here."""
    for _ in results:
        pass
