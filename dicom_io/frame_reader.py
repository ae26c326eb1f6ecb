"""Frames without a place in the patient: ultrasound and endoscopy cine, and single pictures, as a FrameStack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from dicom_io.decode import decode_frames
from dicom_io.errors import UndecodablePixels
from dicom_io.frame_attributes import numbers, whole_number
from dicom_io.instance import InstanceHeader
from dicom_io.slice_stack import label
from dicom_io.values import in_words, text_of
from dicom_io.volume import FrameStack, SourceFrame


def read_frames(header: InstanceHeader) -> FrameStack:
    """Decode the frames of one instance: (t, row, column), or (t, row, column, 3) in RGB for colour and palettes.

    Stored values without the modality transform; those of MONOCHROME1 are inverted once, here, within Bits Stored, so that
    high values are bright as everywhere (PS3.3 C.7.6.3.1.2). Raises NoPixels, or UndecodablePixels also for signed or wider
    values than 16 bits, which belong in a volume.
    """
    return FrameStack(
        frames=_bright_is_high(header, _displayable(header, _coloured(header, decode_frames(header)))),
        sources=tuple(
            SourceFrame(path=header.path, sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid, frame_number=number)
            for number in range(1, header.number_of_frames + 1)
        ),
        frame_time_ms=_frame_time_ms(header),
    )


def _coloured(header: InstanceHeader, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    if text_of(header.dataset, "PhotometricInterpretation") != "PALETTE COLOR":
        return stored
    try:
        return np.asarray(apply_color_lut(stored, header.dataset))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UndecodablePixels(f"{label(header)}: expected a readable palette, got {in_words(error)}; send it again") from error


def _displayable(header: InstanceHeader, frames: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if frames.dtype == np.uint8:
        return frames.astype(np.uint8, copy=False)
    if frames.dtype == np.uint16:
        return frames.astype(np.uint16, copy=False)
    raise UndecodablePixels(
        f"{label(header)}: expected unsigned values of 8 or 16 bits for frames without a place in the patient, got {frames.dtype}; "
        "send the series that the image belongs to"
    )


def _bright_is_high(header: InstanceHeader, frames: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if text_of(header.dataset, "PhotometricInterpretation") != "MONOCHROME1":
        return frames
    stored = whole_number(header.dataset, "BitsStored", frames.dtype.itemsize * 8)
    highest = np.iinfo(frames.dtype).max >> max(0, frames.dtype.itemsize * 8 - stored)
    inverted = highest - np.minimum(frames, highest)
    return inverted.astype(np.uint8) if frames.dtype == np.uint8 else inverted.astype(np.uint16)


def _frame_time_ms(header: InstanceHeader) -> float | None:
    """Milliseconds between frames: Frame Time, the mean of the Frame Time Vector, or from Cine Rate (PS3.3 C.7.6.5)."""
    if header.number_of_frames < 2:
        return None
    stated = numbers(header.dataset, "FrameTime")
    if len(stated) == 1 and stated[0] > 0.0:
        return stated[0]
    vector = numbers(header.dataset, "FrameTimeVector")[1:]
    if vector and sum(vector) > 0.0:
        return sum(vector) / len(vector)
    rate = numbers(header.dataset, "CineRate") or numbers(header.dataset, "RecommendedDisplayFrameRate")
    return 1000.0 / rate[0] if rate and rate[0] > 0.0 else None
