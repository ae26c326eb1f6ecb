"""How much an instance may claim before anything is allocated for it: frames, samples, and the size of an inflated file.

A header of a few bytes can promise terabytes. Every limit is asked of the header alone, or while a stream grows.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from dicom_io.errors import NotDicom, UndecodablePixels

MAXIMUM_FRAMES = 20000
"""A header that promises more frames is damaged or hostile; a whole-body CT at 0.5 mm has 4000."""
MAXIMUM_SAMPLES = 2**30
"""Rows x columns x frames x samples a pixel, at most, of an instance and of a volume: 4 GiB as float32; more is refused unread."""
MAXIMUM_INFLATED_BYTES = 2**30
"""A deflated instance (PS3.5 A.5) that inflates to more is a bomb, or a volume that nobody should send deflated."""
_CHUNK = 2**20


def expect_affordable(samples: int, what: str) -> None:
    """Raise UndecodablePixels if so many samples would exhaust the memory; nothing is allocated before this is asked."""
    if samples > MAXIMUM_SAMPLES:
        raise UndecodablePixels(
            f"{what}: expected at most {MAXIMUM_SAMPLES} samples (rows x columns x frames x samples a pixel), got {samples}; "
            "send it in parts, or reconstruct it coarser"
        )


def expect_inflatable(path: Path, offset: int) -> None:
    """Raise NotDicom if the deflated stream that begins at `offset` of a file inflates beyond the limit; keeps one chunk in memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    with path.open("rb") as file:
        file.seek(offset)
        pending = file.read(_CHUNK)
        while pending and not inflater.eof:
            size += len(inflater.decompress(pending, _CHUNK))
            if size > MAXIMUM_INFLATED_BYTES:
                raise NotDicom(
                    f"{path.name}: expected a deflated instance of at most {MAXIMUM_INFLATED_BYTES} bytes, got one that inflates to more; "
                    "send it uncompressed"
                )
            pending = inflater.unconsumed_tail or file.read(_CHUNK)
