"""Frames of one bit a pixel in the two compressed syntaxes that no decoder here unpacks: RLE and deflated image frames.

Eight pixels share a byte, the first in the least significant bit, and each frame begins with a byte of its own (PS3.5 8.1.1 and
8.2). Both kinds are unpacked to the size that the header states and no further, so that a hostile frame stays small.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames

from dicom_io.decode import DECODING_ERRORS, decode_frames
from dicom_io.errors import UndecodablePixels
from dicom_io.frame_attributes import whole_number
from dicom_io.instance import InstanceHeader
from dicom_io.limits import expect_affordable
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import in_words

DEFLATED_IMAGE_FRAMES = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression (PS3.5 A.4.13), which older dictionaries do not name."""


def decode_segment_frames(header: InstanceHeader) -> NDArray[np.generic]:
    """Return the stored values of a segmentation's frames, (frame, row, column).

    Raises NoPixels or UndecodablePixels, and OSError if the file is gone.
    """
    unpack = _UNPACKERS.get(header.transfer_syntax_uid)
    if unpack is None or whole_number(header.dataset, "BitsAllocated") != 1:
        return decode_frames(header)
    shape = (header.number_of_frames, whole_number(header.dataset, "Rows"), whole_number(header.dataset, "Columns"))
    pixels = shape[1] * shape[2]
    expect_affordable(shape[0] * pixels, header.path.name)
    try:
        with without_pydicom_warnings():
            encapsulated = pydicom.dcmread(header.path, force=True).PixelData
            packed = [unpack(frame, (pixels + 7) // 8) for frame in generate_frames(encapsulated, number_of_frames=shape[0])]
        bits = [np.unpackbits(np.frombuffer(frame, np.uint8), count=pixels, bitorder="little") for frame in packed]
        return np.stack(bits).reshape(shape)
    except DECODING_ERRORS as error:
        words = in_words(error)
        raise UndecodablePixels(f"{header.path.name}: a frame of one bit a pixel is damaged ({words}); send it uncompressed") from error


def _inflated(frame: bytes, size: int) -> bytes:
    """One raw deflate stream (RFC 1951)."""
    return _whole(zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(frame, size), size)


def _run_length_decoded(frame: bytes, size: int) -> bytes:
    """One segment of byte runs behind a header of 64 bytes (PS3.5 annex G)."""
    segments, start = np.frombuffer(frame[:8], "<u4")
    if segments != 1:
        raise ValueError(f"expected one RLE segment, got {segments}")
    found, place = bytearray(), int(start)
    while len(found) < size:
        control = frame[place]
        if control < 128:
            found += frame[place + 1 : place + 2 + control]
            place += 2 + control
        elif control > 128:
            found += frame[place + 1 : place + 2] * (257 - control)
            place += 2
        else:
            place += 1
    return _whole(bytes(found), size)


def _whole(unpacked: bytes, size: int) -> bytes:
    if len(unpacked) < size:
        raise ValueError(f"expected {size} bytes, got {len(unpacked)}")
    return unpacked[:size]


_UNPACKERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    DEFLATED_IMAGE_FRAMES: _inflated,
    str(uid.RLELossless): _run_length_decoded,
}
