"""What a compressed frame says of itself: the size in its code stream, and whether it reaches its end.

A decoder believes the code stream and allocates what that claims, whatever the DICOM header says: so the two are compared
before any decoder sees a byte. A stream without its end is refused, since decoders fill the rest of a torn picture with grey.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_END_OF_IMAGE = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS (ITU-T T.81 B.1.1.3, T.87 C.1.1), EOC of JPEG 2000 (T.800 A.4.4): the same two bytes."""
_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f\xff\x51"
"""SOC followed at once by SIZ (T.800 A.4.1, A.5.1)."""
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""SOF0 to SOF15 without DHT, JPG and DAC (T.81 table B.1); 0xF7 is SOF55 of JPEG-LS (T.87 C.1.1)."""
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, kw_only=True)
class FrameSize:
    """What a code stream claims."""

    rows: int
    columns: int
    components: int


def ends_whole(frame: bytes) -> bool:
    """Return whether a frame ends with its end-of-image marker; writers pad frames with zeros, a few with ones."""
    return frame.rstrip(b"\x00\xff").endswith(_END_OF_IMAGE)


def frame_size(frame: bytes) -> FrameSize:
    """Return the size that a JPEG, JPEG-LS or JPEG 2000 code stream states. Raises ValueError if it states none."""
    try:
        if frame.startswith(_JPEG_2000_START):
            return _jpeg_2000_size(frame)
        if frame.startswith(_JPEG_START):
            return _jpeg_size(frame)
    except (struct.error, IndexError) as error:
        raise ValueError("the code stream ends within its header") from error
    raise ValueError(f"expected a JPEG or JPEG 2000 code stream, got {frame[:4]!r}")


def _jpeg_2000_size(frame: bytes) -> FrameSize:
    """From the SIZ marker segment (T.800 table A.9): extent of the reference grid without its offset."""
    width, height, left, top = struct.unpack_from(">4I", frame, 8)
    (components,) = struct.unpack_from(">H", frame, 40)
    return FrameSize(rows=height - top, columns=width - left, components=components)


def _jpeg_size(frame: bytes) -> FrameSize:
    """From the frame header (T.81 B.2.2), found by walking the marker segments."""
    place = 2
    while True:
        if frame[place] != 0xFF:
            raise ValueError("the code stream has bytes between its marker segments")
        marker = frame[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        elif marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">2H", frame, place + 5)
            return FrameSize(rows=rows, columns=columns, components=frame[place + 9])
        else:
            (length,) = struct.unpack_from(">H", frame, place + 2)
            place += 2 + length
