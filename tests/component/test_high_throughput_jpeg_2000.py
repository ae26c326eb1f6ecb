"""HTJ2K: the same CT slice, encoded by OpenJPH, is decoded to the same values by the decoder that we ship."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import UID, HTJ2KLossless, HTJ2KLosslessRPCL

from dicom_io.decode import decode_frames
from dicom_io.instance import read_header

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = REPOSITORY / ".node" / "node_modules"
LRCP, RPCL = 0, 2
HTJ2K = UID("1.2.840.10008.1.2.4.203")
QUANTISATION = 0.0005
"""Of the range of 16 bits, which is some 33 of its values."""


@pytest.mark.parametrize(("syntax", "progression"), [(HTJ2KLossless, LRCP), (HTJ2KLosslessRPCL, RPCL)])
def test_lossless_slices_are_bit_exact(syntax: UID, progression: int, shared_folder: Path, tmp_path: Path) -> None:
    expected, decoded = _encoded_and_decoded(shared_folder, tmp_path, syntax, (0.0, progression))
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.int16


def test_a_lossy_slice_comes_close(shared_folder: Path, tmp_path: Path) -> None:
    expected, decoded = _encoded_and_decoded(shared_folder, tmp_path, HTJ2K, (QUANTISATION, RPCL))
    difference = np.abs(decoded.astype(np.int32) - expected.astype(np.int32))
    assert 0 < difference.max() <= 2 * QUANTISATION * 65536
    assert (tmp_path / "htj2k.dcm").stat().st_size < 100_000  # of 512 KiB


def _encoded_and_decoded(
    shared_folder: Path, folder: Path, syntax: UID, how: tuple[float, int]
) -> tuple[NDArray[np.int16], NDArray[np.generic]]:
    node = shutil.which("node")
    if node is None or not (PACKAGES / "@cornerstonejs" / "codec-openjph").is_dir():
        pytest.skip(f"the encoder of HTJ2K needs node and the packages that .ci/run installs into {PACKAGES}")
    dataset = pydicom.dcmread(shared_folder / "data" / "compressed_ct_all_syntaxes" / "CTImage.dcm")
    raw, stream, file = folder / "raw", folder / "stream.j2c", folder / "htj2k.dcm"
    raw.write_bytes(dataset.PixelData)
    expected: NDArray[np.int16] = np.frombuffer(dataset.PixelData, np.int16).reshape(1, dataset.Rows, dataset.Columns)
    # Packages are looked for beside a module: a link puts the script, which lies elsewhere, beside them.
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "encode.mjs").symlink_to(REPOSITORY / "tests" / "tools" / "ohif" / "encode_htj2k.mjs")
    size = (dataset.Rows, dataset.Columns, dataset.BitsStored, dataset.PixelRepresentation)
    arguments = [str(argument) for argument in (folder / "encode.mjs", raw, stream, *size, *how)]
    command = [node, "--preserve-symlinks", "--preserve-symlinks-main", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    dataset.PixelData = encapsulate([stream.read_bytes()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(file, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return expected, decode_frames(read_header(file))
