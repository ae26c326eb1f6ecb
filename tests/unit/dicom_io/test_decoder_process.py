"""A decoder that dies, hangs or is killed costs one image its reading, and neither the worker nor the next image anything."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import JPEGLSLossless

from dicom_io import decoder_process
from dicom_io.decode import decode_frames
from dicom_io.decoder_process import close_all, decode_apart
from dicom_io.errors import NoPixels, NotDicom, UndecodablePixels
from dicom_io.instance import read_header
from tests.unit.dicom_io.mutations import spoil, voxels, write_series


@pytest.fixture
def compressed(tmp_path: Path) -> tuple[Path, ...]:
    def compress(dataset: FileDataset, index: int) -> None:
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)

    return spoil(write_series(tmp_path), compress)


def idle_process() -> int:
    """The id of the one idle decoder."""
    (decoder,) = decoder_process._idle
    return decoder._process.pid


def test_threads_share_decoders_and_get_the_stored_values(compressed: tuple[Path, ...]) -> None:
    close_all()
    with ThreadPoolExecutor(2) as pool:
        frames = list(pool.map(lambda path: decode_frames(read_header(path)), compressed))
    assert np.array_equal(np.concatenate(frames), voxels())
    assert 1 <= len(decoder_process._idle) <= 2


def test_an_image_that_a_decoder_dies_of_is_refused_and_the_next_one_read(compressed: tuple[Path, ...]) -> None:
    close_all()
    decode_apart(compressed[0], "image 1")
    os.kill(idle_process(), signal.SIGABRT)
    with pytest.raises(UndecodablePixels, match="image 2: the decoder failed: it died of it"):
        decode_apart(compressed[1], "image 2")
    assert np.array_equal(decode_apart(compressed[2], "image 3")[0], voxels()[2])


def test_a_decoder_that_the_system_killed_says_memory_and_blames_no_data(compressed: tuple[Path, ...]) -> None:
    close_all()
    decode_apart(compressed[0], "image 1")
    os.kill(idle_process(), signal.SIGKILL)
    with pytest.raises(MemoryError, match="when memory runs out"):
        decode_apart(compressed[1], "image 2")


def test_a_decoder_that_does_not_end_is_ended(compressed: tuple[Path, ...]) -> None:
    close_all()
    decode_apart(compressed[0], "image 1")
    process = idle_process()
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(UndecodablePixels, match=r"took longer than 0\.05 s"):
        decode_apart(compressed[1], "image 2", seconds=0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_stop_of_the_whole_group_does_not_end_a_decoder_at_work(compressed: tuple[Path, ...]) -> None:
    close_all()
    decode_apart(compressed[0], "image 1")
    for stop in (signal.SIGTERM, signal.SIGINT):
        os.kill(idle_process(), stop)
    assert np.array_equal(decode_apart(compressed[1], "image 2")[0], voxels()[1])


def test_reasons_come_through_as_what_they_are(compressed: tuple[Path, ...], tmp_path: Path) -> None:
    def strip(dataset: FileDataset, index: int) -> None:
        del dataset.PixelData

    with pytest.raises(NoPixels, match="expected pixel data, got none"):
        decode_apart(spoil(compressed[:1], strip)[0], "image 1")
    (tmp_path / "text").write_text("no image")
    with pytest.raises(NotDicom, match="expected 'DICM'"):
        decode_apart(tmp_path / "text", "image 1")
    with pytest.raises(OSError, match="No such file"):
        decode_apart(tmp_path / "gone", "image 1")
