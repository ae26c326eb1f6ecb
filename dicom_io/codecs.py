"""Which decoder unpacks which transfer syntax; all others (video, retired JPEG processes, JPEG XL) have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import uid

from dicom_io.errors import UndecodablePixels
from dicom_io.instance import InstanceHeader
from dicom_io.slice_stack import label


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How a transfer syntax is unpacked: pydicom's name for the plugin, and the package that it needs."""

    plugin: str
    package: str
    run_lengths: bool = False
    """Whether a frame is run-length encoded. The decoder in Rust is twice as fast, but panics on damage as no handler catches."""
    code_stream: bool = False
    """Whether a frame is a JPEG code stream, which states its own size and ends with a marker (see `dicom_io.code_stream`)."""


_NATIVE = Codec(plugin="", package="pydicom")
_RLE = Codec(plugin="pydicom", package="pydicom", run_lengths=True)
_JPEG = Codec(plugin="gdcm", package="python-gdcm", code_stream=True)
_JPEG_LS = Codec(plugin="pyjpegls", package="pyjpegls", code_stream=True)
_JPEG_2000 = Codec(plugin="pylibjpeg", package="pylibjpeg-openjpeg", code_stream=True)

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
"""Every transfer syntax that can be decoded."""


def codec_of(header: InstanceHeader) -> Codec:
    """Return the decoder of an instance. Raises UndecodablePixels if its transfer syntax has none."""
    codec = CODECS.get(header.transfer_syntax_uid)
    if codec is None:
        raise UndecodablePixels(
            f"{described(header)}: there is no decoder for this transfer syntax; "
            "expected uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000 or HTJ2K; send it uncompressed"
        )
    return codec


def why_undecodable(header: InstanceHeader) -> UndecodablePixels | None:
    """Return why the header alone says that the pixels cannot be decoded, or None."""
    try:
        codec_of(header)
    except UndecodablePixels as error:
        return error
    return None


def described(header: InstanceHeader) -> str:
    """Return an image and its transfer syntax, for messages; not its file's name, which may be a patient's."""
    syntax = uid.UID(header.transfer_syntax_uid)
    return f"{label(header)} ({syntax.name}, {header.transfer_syntax_uid})"
