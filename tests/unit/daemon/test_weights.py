"""Weights by name, and the hashes that vouch for their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.errors import UnknownWeights, UntrustedWeights
from daemon.weights import InstallRequest, WeightsEntry, collect, install, sha256_of, verify


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """A file that stands for a checkpoint: here only its bytes matter."""
    path = tmp_path / "liver.pt"
    path.write_bytes(b"tensors")
    return path


def request(file: Path, *, sha256: str | None = None, trust: bool = False) -> InstallRequest:
    return InstallRequest(file=file, name="liver", sha256=sha256, trust=trust, licence="CC BY 4.0", intended_use="research")


def test_a_file_that_nobody_vouches_for_is_not_installed(weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedWeights, match="pass --sha256, or pass --trust"):
        install(request(weights_file), tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_file_with_another_hash_than_the_publishers_is_not_installed(weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedWeights, match="expected SHA-256 0000"):
        install(request(weights_file, sha256="0000"), tmp_path / "weights")


@pytest.mark.parametrize("how", ["sha256", "trust"])
def test_an_installed_file_is_found_by_its_name_with_licence_and_hash(weights_file: Path, tmp_path: Path, how: str) -> None:
    digest = sha256_of(weights_file)
    install(request(weights_file, sha256=digest if how == "sha256" else None, trust=how == "trust"), tmp_path / "weights")
    entry = collect({}, tmp_path / "weights").find("liver")
    assert (entry.licence, entry.intended_use, entry.sha256, entry.source) == ("CC BY 4.0", "research", digest, "installed")
    assert entry.file.read_bytes() == b"tensors"
    assert verify(entry) == digest


def test_a_changed_file_no_longer_verifies(weights_file: Path, tmp_path: Path) -> None:
    entry = install(request(weights_file, trust=True), tmp_path / "weights")
    entry.file.write_bytes(b"other tensors")
    with pytest.raises(UntrustedWeights, match="restore the original file"):
        verify(entry)


def test_the_configuration_wins_over_an_installed_file_of_the_same_name(weights_file: Path, tmp_path: Path) -> None:
    install(request(weights_file, trust=True), tmp_path / "weights")
    configured = WeightsEntry(name="liver", file=weights_file, sha256=None, licence="", intended_use="", source="configuration")
    assert collect({"liver": configured}, tmp_path / "weights").find("liver") is configured


def test_an_unknown_name_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownWeights, match=r"'tumour': no such name \(known: .*starter"):
        collect({}, tmp_path).find("tumour")


def test_the_shipped_weights_are_what_their_recorded_hash_says(tmp_path: Path) -> None:
    entry = collect({}, tmp_path).find("starter")
    assert verify(entry) == entry.sha256
