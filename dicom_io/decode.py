"""Unpacking the pixels of one instance, and what must not be passed over in silence while that is done.

Lossless syntaxes come out bit-exact. What a header or a code stream claims is judged before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder

from dicom_io.code_stream import ends_whole, frame_size
from dicom_io.codecs import Codec, codec_of, described
from dicom_io.decoder_process import decode_apart
from dicom_io.errors import NoPixels, UndecodablePixels
from dicom_io.frame_attributes import whole_number
from dicom_io.instance import InstanceHeader
from dicom_io.limits import expect_affordable
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.values import READING_ERRORS, in_words, is_damage

DECODING_ERRORS = (*READING_ERRORS, RuntimeError, MemoryError)
"""What pydicom and its plugins raise on damaged pixel data."""


def decode_frames(header: InstanceHeader) -> NDArray[np.generic]:
    """Return the stored values of all frames, before the modality transform: (frame, row, column) or (frame, row, column, 3).

    The dtype is the narrowest integer that holds BitsAllocated with the instance's own signedness (float for float
    pixel data). Colour comes as RGB; palettes are left as indices. Raises NoPixels if the instance holds no pixel data,
    UndecodablePixels if they are too large, torn, damaged or in a syntax without a decoder; OSError if the file is gone.
    Code streams are decoded in a process of its own, which a damaged one may take down (`dicom_io.decoder_process`).
    """
    expect_affordable(_sample_count(header.dataset, header.number_of_frames), described(header))
    return decode_apart(header.path, described(header)) if codec_of(header).code_stream else decode_here(header)


def decode_here(header: InstanceHeader) -> NDArray[np.generic]:
    """Return what `decode_frames` does, decoded in this process."""
    codec = codec_of(header)
    expect_affordable(_sample_count(header.dataset, header.number_of_frames), described(header))
    with without_pydicom_warnings():
        try:
            dataset = _read(header)
            if codec.code_stream:
                _expect_sound_frames(dataset, header)
            elif codec.run_lengths:
                _expect_short_frames(dataset, header)
            return _decoded(get_decoder(uid.UID(header.transfer_syntax_uid)), dataset, codec, header)
        except DECODING_ERRORS as error:
            raise _undecodable(header, codec, error) from error
        except OSError as error:
            if not is_damage(error):
                raise
            raise _undecodable(header, codec, error) from error


def _read(header: InstanceHeader) -> Dataset:
    dataset = pydicom.dcmread(header.path, force=True)
    if any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return dataset
    if "Rows" in header.dataset and "Rows" not in dataset:
        # pydicom gives up every element where an undefined length never ends.
        raise EOFError("the file ends before its pixel data do")
    raise NoPixels(f"{described(header)}: expected pixel data, got none; send the image again with its pixels")


def _decoded(decoder: Decoder, dataset: Dataset, codec: Codec, header: InstanceHeader) -> NDArray[np.generic]:
    if codec.plugin and codec.plugin not in decoder.available_plugins:
        raise UndecodablePixels(
            f"{described(header)}: expected the decoder {codec.package}, which is not installed; run `pip install {codec.package}`"
        )
    frames, _ = decoder.as_array(dataset, raw=False, decoding_plugin=codec.plugin)
    native = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    stack = native if header.number_of_frames > 1 else native[np.newaxis]
    expected = (header.number_of_frames, whole_number(header.dataset, "Rows"), whole_number(header.dataset, "Columns"))
    if stack.shape[:3] != expected or stack.ndim > 4:
        raise ValueError(f"expected frames, rows and columns {expected}, got pixels of {stack.shape}")
    return stack


def _expect_sound_frames(dataset: Dataset, header: InstanceHeader) -> None:
    """Raise ValueError unless every code stream claims the header's size and ends where a picture ends."""
    expected = tuple(whole_number(header.dataset, keyword, default) for keyword, default in _SIZE)
    for number, frame in enumerate(_frames(dataset, header), start=1):
        which = f"frame {number} of {header.number_of_frames}"
        size = frame_size(frame)
        if (size.rows, size.columns, size.components) != expected:
            raise ValueError(
                f"{which} claims {size.rows} rows, {size.columns} columns and {size.components} components in its code stream; "
                f"expected the header's {expected[0]}, {expected[1]} and {expected[2]}"
            )
        if not ends_whole(frame):
            raise ValueError(f"{which} ends without its end-of-image marker: the file is cut short")


def _expect_short_frames(dataset: Dataset, header: InstanceHeader) -> None:
    """Raise ValueError for run-length encoded frames longer than twice their pixels: two bytes can stand for 128."""
    longest = 2 * _sample_count(header.dataset, 1) * whole_number(header.dataset, "BitsAllocated", 16) // 8 + _RLE_HEADER
    for number, frame in enumerate(_frames(dataset, header), start=1):
        if len(frame) > longest:
            raise ValueError(f"frame {number} of {header.number_of_frames} has {len(frame)} bytes, expected at most {longest}")


def _frames(dataset: Dataset, header: InstanceHeader) -> Iterator[bytes]:
    """The compressed frames of an instance, by its offset tables where it has them."""
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return generate_frames(dataset.PixelData, number_of_frames=header.number_of_frames, extended_offsets=offsets)


_RLE_HEADER = 64
"""Bytes (PS3.5 annex G.5)."""
_SIZE = (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1))


def _sample_count(dataset: Dataset, frames: int) -> int:
    return whole_number(dataset, "Rows") * whole_number(dataset, "Columns") * whole_number(dataset, "SamplesPerPixel", 1) * frames


def _undecodable(header: InstanceHeader, codec: Codec, error: Exception) -> UndecodablePixels:
    words = in_words(error)
    return UndecodablePixels(f"{described(header)}: decoder {codec.package} failed: {words}; send the image again, or uncompressed")
