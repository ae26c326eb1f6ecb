"""Weights by their publisher's name: downloaded over a real connection that breaks, resumed, hashed, and vouched for or not installed."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import pytest
import torch
from typer.testing import CliRunner, Result

from daemon.audit_chain import records
from daemon.cli import app
from daemon.download import DownloadFailed, _Redirects, fetch
from daemon.errors import ConfigError, UntrustedWeights
from daemon.published_weights import PUBLISHED, PublishedWeights, download, published
from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from tests.component.file_server import FileSource, serving_file

DATA = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()
WANTED = PublishedWeights(file="MedSAM2_latest.pt", what_for="tests")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine's has no way to our loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def quiet(_done: int, _total: int) -> None:
    """Hear of progress and do nothing."""


def take(folder: Path, base: str, sha256: str | None = None) -> Path:
    return download(WANTED, folder, base, sha256, quiet).path


def test_a_file_comes_whole_and_its_progress_ends_at_its_size(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    with serving_file(FileSource(data=DATA)) as base:
        fetched = fetch(f"{base}/file", tmp_path / "file", lambda done, total: heard.append((done, total)))
    assert fetched.path.read_bytes() == DATA
    assert heard[-1] == (len(DATA), len(DATA))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_connections_that_break_are_taken_up_where_they_ended(tmp_path: Path) -> None:
    source = FileSource(data=DATA, breaks_after=[100_000, 2_000_000])
    with serving_file(source) as base:
        assert fetch(f"{base}/file", tmp_path / "file", quiet).path.read_bytes() == DATA
    assert source.ranges == [None, "bytes=100000-", "bytes=2100000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    source = FileSource(data=DATA, breaks_after=[1_000_000, 0])
    with serving_file(source) as base:
        with pytest.raises(DownloadFailed, match=r"the connection ended after 1000000 bytes .*; run the same command again"):
            fetch(f"{base}/file", tmp_path / "file", quiet)
        assert not (tmp_path / "file").exists()
        assert fetch(f"{base}/file", tmp_path / "file", quiet).path.read_bytes() == DATA
    assert source.ranges[-1] == "bytes=1000000-"


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"resumes": False}, {"etag": 'W/"one"'}])
def test_another_version_or_a_server_that_cannot_resume_gives_the_whole_file_anew(tmp_path: Path, change: dict[str, object]) -> None:
    source = FileSource(data=b"x" * 50_000, breaks_after=[20_000, 0])
    with serving_file(source) as base:
        with pytest.raises(DownloadFailed):
            fetch(f"{base}/file", tmp_path / "file", quiet)
        source.data = DATA
        for name, value in change.items():
            setattr(source, name, value)
        assert fetch(f"{base}/file", tmp_path / "file", quiet).path.read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    source = FileSource(data=DATA, breaks_after=[1_000_000, 0])
    with serving_file(source) as base:
        with pytest.raises(DownloadFailed):
            fetch(f"{base}/file", tmp_path / "file", quiet)
        source.data = DATA[:500]
        assert fetch(f"{base}/file", tmp_path / "file", quiet).path.read_bytes() == DATA[:500]


def test_the_hash_that_the_publishers_server_states_before_it_sends_us_elsewhere_must_be_that_of_the_bytes(tmp_path: Path) -> None:
    with serving_file(FileSource(data=DATA)) as store:
        honest = FileSource(data=b"", redirect=f"{store}/blob", stated_sha256=DIGEST)
        with serving_file(honest) as base:
            assert download(WANTED, tmp_path / "a", base, None, quiet).stated_sha256 == DIGEST
        assert honest.paths == ["/MedSAM2_latest.pt"]
        with (
            serving_file(FileSource(data=b"", redirect=f"{store}/blob", stated_sha256="0" * 64)) as base,
            pytest.raises(UntrustedWeights, match="the server states SHA-256 0000"),
        ):
            take(tmp_path / "b", base)
    assert list((tmp_path / "b").iterdir()) == []


def test_a_wrong_hash_installs_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    with serving_file(FileSource(data=DATA)) as base, pytest.raises(UntrustedWeights, match=f"expected SHA-256 1111.*, got {DIGEST}"):
        take(tmp_path, base, "1" * 64)
    assert list(tmp_path.iterdir()) == []


def test_what_was_downloaded_before_is_not_downloaded_again(tmp_path: Path) -> None:
    source = FileSource(data=DATA)
    with serving_file(source) as base:
        take(tmp_path, base)
        assert take(tmp_path, base, DIGEST).read_bytes() == DATA
    assert len(source.paths) == 1


@pytest.mark.parametrize(
    ("status", "words"), [(404, "no such file"), (401, "wants to know who asks"), (403, "to others only"), (503, "try again later")]
)
def test_a_refusal_is_told_with_what_to_copy_where(tmp_path: Path, status: int, words: str) -> None:
    with serving_file(FileSource(data=DATA, status=status)) as base, pytest.raises(DownloadFailed, match=words) as told:
        take(tmp_path, base)
    assert f"got {status}" in str(told.value)
    assert "Without a network here: download https://huggingface.co/wanglab/MedSAM2/resolve/main/MedSAM2_latest.pt" in str(told.value)


def test_without_a_network_it_says_what_to_copy_where(tmp_path: Path) -> None:
    with serving_file(FileSource(data=b"")) as gone:
        pass
    with pytest.raises(DownloadFailed, match="cannot be reached") as told:
        take(tmp_path, gone)
    assert "medsam2d weights install /path/to/MedSAM2_latest.pt --name MedSAM2_latest --sha256 HASH" in str(told.value)


@pytest.mark.parametrize(
    "base", ["ftp://mirror.example/x", "https://user:secret@mirror.example/x", "mirror.example", "https://mirror.example/?a=b"]
)
def test_a_mirror_that_is_no_plain_web_address_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(ConfigError, match="--mirror: expected https"):
        take(tmp_path, base)


def test_a_mirror_in_plain_text_needs_a_hash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="or --sha256 beside plain http"):
        take(tmp_path, "http://mirror.example/medsam2")


def test_a_redirect_never_leads_out_of_tls() -> None:
    asked = Request("https://huggingface.co/file")
    with pytest.raises(URLError, match=r"a redirect out of TLS, to http://cdn\.example"):
        _Redirects().redirect_request(asked, None, 302, "", HTTPMessage(), "http://cdn.example/file")  # type: ignore[arg-type]


def test_a_server_that_speaks_no_tls_is_told_as_unreachable(tmp_path: Path) -> None:
    with serving_file(FileSource(data=DATA)) as base, pytest.raises(DownloadFailed, match="cannot be reached"):
        fetch(base.replace("http:", "https:") + "/file", tmp_path / "file", quiet, ssl.create_default_context())


def test_names_are_those_of_the_publishers_files_with_or_without_their_suffix() -> None:
    assert published("MedSAM2_CTLesion.pt") is published("MedSAM2_CTLesion") is PUBLISHED["MedSAM2_CTLesion"]
    assert published("starter") is None


# The command.


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A file in the publisher's form, whose weights mean nothing."""
    stream = io.BytesIO()
    torch.save({"model": MedSAM2(MedSAM2Config()).state_dict()}, stream)
    return stream.getvalue()


def run(folder: Path, *arguments: str) -> Result:
    (folder / "config.yaml").write_text(f"folders: {{state: {folder / 'state'}}}\n")
    return CliRunner().invoke(app, ["weights", *arguments, "--config", str(folder / "config.yaml")])


def test_an_official_file_is_downloaded_over_a_broken_connection_vouched_for_and_installed(tmp_path: Path, checkpoint: bytes) -> None:
    digest = hashlib.sha256(checkpoint).hexdigest()
    source = FileSource(data=checkpoint, breaks_after=[60_000_000], stated_sha256=digest)
    with serving_file(source) as base:
        refused = run(tmp_path, "install", "MedSAM2_latest", "--mirror", base)
        assert isinstance(refused.exception, UntrustedWeights)
        assert f"nobody vouches for SHA-256 {digest}, which its server states too, yet" in str(refused.exception)
        assert not (tmp_path / "state" / "weights" / "index.json").exists()
        done = run(tmp_path, "install", "MedSAM2_latest", "--mirror", base, "--sha256", digest, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["name"], said["sha256"], said["source"]) == ("MedSAM2_latest", digest, "installed")
    assert said["licence"].startswith("the publisher's terms")
    assert source.ranges == [None, "bytes=60000000-"], "the second call downloads nothing"
    assert list((tmp_path / "state" / "weights" / "downloads").iterdir()) == []
    (verified,) = json.loads(run(tmp_path, "verify", "MedSAM2_latest", "--json").stdout)
    assert verified == {"name": "MedSAM2_latest", "good": True, "found": f"sha256 {digest} as recorded"}
    assert [record.event for record in records(tmp_path / "state" / "audit")] == ["weights-installed"]


def test_a_person_may_vouch_for_an_official_file_which_is_audited(tmp_path: Path, checkpoint: bytes) -> None:
    with serving_file(FileSource(data=checkpoint)) as base:
        done = run(tmp_path, "install", "MedSAM2_2411", "--mirror", base, "--trust", "--name", "general")
    assert done.exit_code == 0, done.output
    assert "general: installed as" in done.stdout
    assert [record.event for record in records(tmp_path / "state" / "audit")] == ["weights-trusted"]


def test_a_name_that_is_neither_a_file_nor_the_publishers_is_answered_with_those_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "install", "MedSAM3")
    assert "one of the publisher's: MedSAM2_latest, MedSAM2_2411" in str(done.exception)


def test_a_file_of_ones_own_needs_a_name(tmp_path: Path) -> None:
    (tmp_path / "own.pt").write_bytes(b"tensors")
    assert "--name: expected the name that rules will use" in str(run(tmp_path, "install", str(tmp_path / "own.pt")).exception)
