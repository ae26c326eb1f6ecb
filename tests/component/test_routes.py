"""What each kind of destination in a configuration becomes, and what a probe of it tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pynetdicom import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from typer.testing import CliRunner

from daemon.cli import app
from daemon.config import Config, load_config
from daemon.delivery import deliver_due
from daemon.destination_probe import ask
from daemon.errors import ConfigError
from daemon.folder_route import FolderMissing, FolderRoute
from daemon.routes import routes_of
from dicom_io.commitment import PUSH_MODEL
from dicom_io.errors import PeerUnreachable
from dicom_io.sender import read_outgoing
from tests.component.delivery_site import SEG, Heard, desk, finished, item, states
from tests.component.loopback import peer_scp, write_instance
from tests.component.store_site import Site, new_site, url_of


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def configured(folder: Path, destinations: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(f"folders: {{state: state}}\ndestinations:\n{destinations}")
    return load_config(path)


def test_a_folder_gets_whole_files_under_their_uids_and_nothing_else(site: Site) -> None:
    out = site.folder / "out"
    out.mkdir()
    finished(site, item(site, 1, "disk"), item(site, 2, "disk"))
    assert deliver_due("disk", FolderRoute(name="disk", folder=out), desk(site, Heard())) == 2
    assert sorted(path.name for path in out.iterdir()) == [f"1.2.826.0.1.3680043.8.498.1.{number}.dcm" for number in (1, 2)]
    assert (out / "1.2.826.0.1.3680043.8.498.1.1.dcm").read_bytes() == (site.folder / "1.dcm").read_bytes()


def test_a_folder_that_is_not_mounted_is_waited_for_and_never_made(site: Site) -> None:
    finished(site, item(site, 1, "disk"))
    heard = Heard()
    deliver_due("disk", FolderRoute(name="disk", folder=site.folder / "share"), desk(site, heard))
    assert heard.events == [("failed", "disk", "1", "folder-missing")]
    assert not (site.folder / "share").exists()
    assert states(site) == {("disk", "1"): "PENDING"}


def test_a_file_that_lies_there_already_is_left_and_a_torn_one_replaced(tmp_path: Path) -> None:
    session = FolderRoute(name="disk", folder=tmp_path / "out")
    (tmp_path / "out").mkdir()
    outgoing = read_outgoing(write_instance(tmp_path))
    target = tmp_path / "out" / f"{outgoing.sop_instance_uid}.dcm"
    with session.open([outgoing], overdue=False, keep=lambda _report: True, reached=lambda _moment: None) as opened:
        opened.send(outgoing)
        inode = target.stat().st_ino
        opened.send(outgoing)
        assert target.stat().st_ino == inode
        target.write_bytes(b"torn")
        opened.send(outgoing)
    assert target.read_bytes() == outgoing.path.read_bytes()


def test_a_probe_tells_what_an_archive_takes_and_sends_nothing(tmp_path: Path) -> None:
    contexts = [build_context(SEG, "1.2.840.10008.1.2.1"), build_context(PUSH_MODEL), build_context(Verification)]
    with peer_scp(contexts, lambda _event: pytest.fail("nothing is to be sent")) as port:
        settings = configured(tmp_path, f"  pacs: {{host: 127.0.0.1, port: {port}, ae_title: ARCHIVE}}\n")
        found = ask(settings, "pacs")
    assert "accepts SEG, storage commitment, verification; refuses LABELMAP SEG, Comprehensive 3D SR" in found.found
    assert found.accepted[SEG, "1.2.840.10008.1.2.1"] is True


@pytest.mark.parametrize(
    ("offered", "commitment", "words"),
    [([Verification], "auto", "accept SEG"), ([SEG], "reverse", "`commitment` setting needs"), ([SEG], "query", "`commitment` setting")],
)
def test_a_probe_names_what_an_archive_would_have_to_allow(tmp_path: Path, offered: list[str], commitment: str, words: str) -> None:
    with peer_scp([build_context(uid) for uid in offered], lambda _event: 0) as port:
        settings = configured(tmp_path, f"  pacs: {{host: 127.0.0.1, port: {port}, ae_title: ARCHIVE, commitment: {commitment}}}\n")
        with pytest.raises(ConfigError, match=words):
            ask(settings, "pacs")


def test_a_probe_warns_where_our_own_door_is_shut_to_commitment_reports(tmp_path: Path) -> None:
    contexts = [build_context(SEG, "1.2.840.10008.1.2.1"), build_context(PUSH_MODEL)]
    with peer_scp(contexts, lambda _event: 0) as port:
        archive = f"host: 127.0.0.1, port: {port}, ae_title: ARCHIVE"
        settings = configured(tmp_path, f"  pacs: {{{archive}}}\n  strict: {{{archive}, commitment: reverse}}\n")
        assert "name ARCHIVE under `listener.peers`" in ask(settings, "pacs").found
        with pytest.raises(ConfigError, match="name ARCHIVE under"):
            ask(settings, "strict")
        (tmp_path / "config.yaml").write_text(
            f"listener: {{peers: [{{ae_title: ARCHIVE}}]}}\ndestinations: {{strict: {{{archive}, commitment: reverse}}}}\n"
        )
        assert "storage commitment" in ask(load_config(tmp_path / "config.yaml"), "strict").found


def test_a_probe_of_what_is_not_there_says_so(tmp_path: Path) -> None:
    settings = configured(tmp_path, "  disk: {kind: folder, path: share}\n  web: {kind: stow, url: 'http://127.0.0.1:9/x'}\n")
    with pytest.raises(FolderMissing, match="mount the share"):
        ask(settings, "disk")
    with pytest.raises(PeerUnreachable, match="is the server running"):
        ask(settings, "web")


def test_certificates_that_cannot_be_used_are_a_fault_of_the_configuration(tmp_path: Path) -> None:
    settings = configured(tmp_path, "  pacs: {host: h, port: 104, ae_title: A, tls: {ca_file: nowhere.pem}}\n")
    with pytest.raises(ConfigError, match=r"destinations\.pacs\.tls"):
        routes_of(settings)


def test_the_commands_echo_probe_and_list_destinations(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    configured(tmp_path, "  disk: {kind: folder, path: out}\n  share: {kind: folder, path: share}\n")
    config = str(tmp_path / "config.yaml")
    run = CliRunner().invoke
    assert run(app, ["echo", "disk", "--config", config]).stdout == f"ok   disk: the folder {tmp_path / 'out'} is writable\n"
    probed = run(app, ["destinations", "probe", "--json", "--config", config])
    assert probed.exit_code == 1
    assert [(answer["name"], answer["good"]) for answer in json.loads(probed.stdout)] == [("disk", True), ("share", False)]
    listed = json.loads(run(app, ["destinations", "list", "--json", "--config", config]).stdout)
    assert [(row["name"], row["kind"], row["waiting"]) for row in listed] == [("disk", "folder", {}), ("share", "folder", {})]
    assert isinstance(run(app, ["echo", "nobody", "--config", config]).exception, ConfigError)


def test_the_commands_show_and_release_what_was_refused(tmp_path: Path) -> None:
    configured(tmp_path, "  pacs: {kind: folder, path: out}\n")
    with (tmp_path / "config.yaml").open("a") as stream:
        stream.write(f"store: {{url: '{url_of(tmp_path)}'}}\n")
    site = new_site(tmp_path)
    finished(site, item(site, 1))
    (delivery,) = site.store.claim_deliveries(desk(site, Heard()).worker, "pacs")
    site.store.refused(delivery, "object-refused", "expected status 0x0000, got 0xC000")
    site.store.close()
    config = str(tmp_path / "config.yaml")
    run = CliRunner().invoke
    assert "QUARANTINED" in run(app, ["deliveries", "list", "--config", config]).stdout
    assert run(app, ["deliveries", "release", "--config", config]).stdout == "released: 1\n"
    (row,) = json.loads(run(app, ["deliveries", "list", "--json", "--config", config]).stdout)
    assert (row["state"], row["error_code"]) == ("PENDING", None)
