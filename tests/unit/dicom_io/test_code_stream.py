"""What a compressed frame claims is read from its own bytes, as the encoders write it, and believed by nobody before that."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_io.code_stream import FrameSize, ends_whole, frame_size
from dicom_io.decode import decode_frames
from dicom_io.errors import UndecodablePixels
from dicom_io.instance import read_header
from dicom_io.synthesis import write_ct_series
from tests.unit.dicom_io.mutations import Spoil, affine_of, spoil

JPEG = b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 480, 640, 3) + bytes(9) + b"\xff\xd9"


def write_images(folder: Path) -> tuple[Path, ...]:
    """Two images of 64 x 64, large enough for every encoder."""
    values = np.random.default_rng(0).integers(-900, 900, (2, 64, 64)).astype(np.int16)
    return write_ct_series(folder, values, affine_of("axial"))


def frame_of(path: Path) -> bytes:
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def compress(syntax: str) -> Spoil:
    def change(dataset: FileDataset, index: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    return change


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_encoders_state_the_size_of_the_image(syntax: str, tmp_path: Path) -> None:
    (path,) = spoil(write_images(tmp_path)[:1], compress(syntax))
    assert frame_size(frame_of(path)) == FrameSize(rows=64, columns=64, components=1)
    assert ends_whole(frame_of(path))


def test_baseline_jpeg_states_its_size_behind_other_segments() -> None:
    assert frame_size(JPEG) == FrameSize(rows=480, columns=640, components=3)


@pytest.mark.parametrize("frame", [b"", b"PNG!", JPEG[:4], JPEG[:9], JPEG[:14], b"\xff\xd8\x00\x00", b"\xff\x4f\xff\x51\x00"])
def test_bytes_that_state_no_size_are_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="code stream"):
        frame_size(frame)


def enlarge(frame: bytes, syntax: str) -> bytes:
    """The same code stream with a claim of 65535 x 65535."""
    if syntax == JPEG2000Lossless:
        return frame[:8] + struct.pack(">2I", 65535, 65535) + frame[16:]
    place = frame.index(b"\xff\xf7")
    return frame[: place + 5] + struct.pack(">2H", 65535, 65535) + frame[place + 9 :]


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_code_stream_that_claims_more_than_the_header_never_reaches_a_decoder(syntax: str, tmp_path: Path) -> None:
    def bomb(dataset: FileDataset, index: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([enlarge(frame, syntax)])

    (path,) = spoil(write_images(tmp_path)[:1], bomb)
    with pytest.raises(UndecodablePixels, match=r"claims 65535 rows, 65535 columns and 1 components.*expected the header's 64, 64 and 1"):
        decode_frames(read_header(path))


def test_run_lengths_that_unpack_to_more_than_the_image_are_refused(tmp_path: Path) -> None:
    def bomb(dataset: FileDataset, index: int) -> None:
        dataset.compress(RLELossless, generate_instance_uid=False)
        run = b"\x81\x00" * 200_000  # 128 zeros from two bytes, 25 MB in all
        header = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13)
        dataset.PixelData = encapsulate([header + run + run])

    (path,) = spoil(write_images(tmp_path)[:1], bomb)
    with pytest.raises(UndecodablePixels, match="frame 1 of 1 has 800064 bytes, expected at most 16448"):
        decode_frames(read_header(path))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_noise_in_a_code_stream_gives_pixels_or_a_reason_and_never_another_error(syntax: str, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    paths = spoil(write_images(tmp_path), compress(syntax))
    for path in paths * 10:
        content = bytearray(path.read_bytes())
        for place in chance.integers(len(content) - 3000, len(content) - 10, 20):
            content[place] = int(chance.integers(256))
        path.write_bytes(content)
        with contextlib.suppress(UndecodablePixels):
            assert decode_frames(read_header(path)).shape == (1, 64, 64)
