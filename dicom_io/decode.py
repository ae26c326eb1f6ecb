"""Which decoder unpacks which transfer syntax, and what it must not pass over in silence.

Lossless syntaxes come out bit-exact. A code stream without its end is refused, since decoders fill the rest of a torn
picture with grey and say nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import Decoder, get_decoder

from dicom_io.errors import NoPixels, UndecodablePixels
from dicom_io.frame_attributes import whole_number
from dicom_io.instance import InstanceHeader
from dicom_io.quiet import without_pydicom_warnings

MAXIMUM_SAMPLES = 2**30
"""Rows x columns x frames x samples a pixel, at most, of an instance and of a volume: 4 GiB as float32; more is refused unread."""

_END_OF_IMAGE = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS (ITU-T T.81 B.1.1.3, T.87 C.1.1), EOC of JPEG 2000 (T.800 A.4.4): the same two bytes."""

DECODING_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
    OverflowError, EOFError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its plugins raise on damaged pixel data."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How a transfer syntax is unpacked: pydicom's name for the plugin, and the package that it needs."""

    plugin: str
    package: str
    marks_end: bool = False
    """Whether a frame ends with `_END_OF_IMAGE`, so that its absence shows a torn frame."""


_NATIVE = Codec(plugin="", package="pydicom")
_RLE = Codec(plugin="pylibjpeg", package="pylibjpeg-rle")
_JPEG = Codec(plugin="gdcm", package="python-gdcm", marks_end=True)
_JPEG_LS = Codec(plugin="pyjpegls", package="pyjpegls", marks_end=True)
_JPEG_2000 = Codec(plugin="pylibjpeg", package="pylibjpeg-openjpeg", marks_end=True)

CODECS: Mapping[str, Codec] = {
    str(syntax): codec
    for codec, syntaxes in (
        (_NATIVE, (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian)),
        (_RLE, (uid.RLELossless,)),
        (_JPEG, (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)),
        (_JPEG_LS, (uid.JPEGLSLossless, uid.JPEGLSNearLossless)),
        (_JPEG_2000, (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)),
    )
    for syntax in syntaxes
}
"""Every transfer syntax that can be decoded; all others (video, retired JPEG processes, JPEG XL) cannot."""


def decode_frames(header: InstanceHeader) -> NDArray[np.generic]:
    """Return the stored values of all frames, before the modality transform: (frame, row, column) or (frame, row, column, 3).

    The dtype is the narrowest integer that holds BitsAllocated with the instance's own signedness (float for float
    pixel data). Colour comes as RGB; palettes are left as indices. Raises NoPixels if the instance holds no pixel data,
    UndecodablePixels if they are too large, torn, damaged or in a syntax without a decoder; OSError if the file is gone.
    """
    codec = _codec(header)
    expect_affordable(_sample_count(header.dataset, header.number_of_frames), _described(header))
    with without_pydicom_warnings():
        try:
            dataset = _read(header)
            if codec.marks_end:
                _expect_whole_frames(dataset, header)
            return _decoded(get_decoder(uid.UID(header.transfer_syntax_uid)), dataset, codec, header)
        except DECODING_ERRORS as error:
            raise _undecodable(header, codec, " ".join(str(error).split())) from error


def expect_affordable(samples: int, what: str) -> None:
    """Raise UndecodablePixels if so many samples would exhaust the memory; nothing is allocated before this is asked."""
    if samples > MAXIMUM_SAMPLES:
        raise UndecodablePixels(
            f"{what}: expected at most {MAXIMUM_SAMPLES} samples (rows x columns x frames x samples a pixel), got {samples}; "
            "send it in parts, or reconstruct it coarser"
        )


def _read(header: InstanceHeader) -> Dataset:
    dataset = pydicom.dcmread(header.path, force=True)
    if any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return dataset
    if "Rows" in header.dataset and "Rows" not in dataset:
        # pydicom gives up every element where an undefined length never ends.
        raise EOFError("the file ends before its pixel data do")
    raise NoPixels(f"{_described(header)}: expected pixel data, got none; send the image again with its pixels")


def _codec(header: InstanceHeader) -> Codec:
    codec = CODECS.get(header.transfer_syntax_uid)
    if codec is None:
        raise UndecodablePixels(
            f"{_described(header)}: there is no decoder for this transfer syntax; "
            "expected uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000 or HTJ2K; send it uncompressed"
        )
    return codec


def _decoded(decoder: Decoder, dataset: Dataset, codec: Codec, header: InstanceHeader) -> NDArray[np.generic]:
    if codec.plugin and codec.plugin not in decoder.available_plugins:
        raise UndecodablePixels(
            f"{_described(header)}: expected the decoder {codec.package}, which is not installed; run `pip install {codec.package}`"
        )
    frames, _ = decoder.as_array(dataset, raw=False, decoding_plugin=codec.plugin)
    native = frames.astype(frames.dtype.newbyteorder("="), copy=False)
    return native if header.number_of_frames > 1 else native[np.newaxis]


def _expect_whole_frames(dataset: Dataset, header: InstanceHeader) -> None:
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    frames = generate_frames(dataset.PixelData, number_of_frames=header.number_of_frames, extended_offsets=offsets)
    for number, frame in enumerate(frames, start=1):
        # Writers pad a frame to an even length with zeros, a few with more of them or with ones.
        if not frame.rstrip(b"\x00\xff").endswith(_END_OF_IMAGE):
            raise ValueError(f"frame {number} of {header.number_of_frames} ends without its end-of-image marker: the file is cut short")


def _sample_count(dataset: Dataset, frames: int) -> int:
    return whole_number(dataset, "Rows") * whole_number(dataset, "Columns") * whole_number(dataset, "SamplesPerPixel", 1) * frames


def _undecodable(header: InstanceHeader, codec: Codec, reason: str) -> UndecodablePixels:
    return UndecodablePixels(f"{_described(header)}: decoder {codec.package} failed: {reason}; send the image again, or uncompressed")


def _described(header: InstanceHeader) -> str:
    syntax = uid.UID(header.transfer_syntax_uid)
    return f"{header.path.name} ({syntax.name}, {header.transfer_syntax_uid})"
