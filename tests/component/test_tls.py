"""TLS at the door: who proves itself gets in, nobody else does, and nobody who dawdles holds up the others."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from daemon.commands.check import certificate
from daemon.config import Config
from daemon.errors import ConfigError
from daemon.listener_settings import ListenerSettings as ConfiguredListener
from daemon.listener_settings import TlsSection
from dicom_io.errors import PortUnavailable, UnusableCertificate
from dicom_io.listener import AssociationEventKind, DoorSettings, InMemory, Listener, Peer
from dicom_io.pynetdicom_settings import RequestorEntity
from dicom_io.reference_listener import ReferenceListener
from dicom_io.tls import TlsIdentity, TlsSettings, own_listener_context, valid_until
from tests.component.certificates import Identity, authority, client_context, issued, needs_openssl
from tests.component.loopback import (
    CT_EXPLICIT,
    OUR_AE_TITLE,
    SCANNER_AE_TITLE,
    SECONDS,
    Sink,
    Witness,
    listening,
    settings,
    small_instance,
    write_instance,
)

pytestmark = needs_openssl


@dataclass(frozen=True, kw_only=True)
class House:
    """A hospital's authority, our identity and a scanner's, and a stranger's authority."""

    folder: Path
    authority: Identity
    ours: Identity
    scanner: Identity
    expired: Identity
    foreign: Identity

    @property
    def tls(self) -> TlsSettings:
        return TlsSettings(
            certificate=self.ours.certificate, private_key=self.ours.private_key, trusted_certificates=self.authority.certificate
        )

    def context(self, identity: Identity | None) -> ssl.SSLContext:
        return client_context(self.authority.certificate, identity)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("certificates")
    own = authority(folder, "hospital")
    return House(
        folder=folder,
        authority=own,
        ours=issued(folder, "medsam2d", own),
        scanner=issued(folder, "scanner", own),
        expired=issued(folder, "expired", own, days=-1),
        foreign=issued(folder, "foreign", authority(folder, "stranger")),
    )


def associate(port: int, context: ssl.SSLContext | None, *, calling: str = SCANNER_AE_TITLE) -> Association:
    entity = RequestorEntity(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = SECONDS
    tls = (context, "127.0.0.1") if context else None
    return entity.request("127.0.0.1", port, contexts=[build_context(Verification), CT_EXPLICIT], ae_title=OUR_AE_TITLE, tls_args=tls)


def assert_served(port: int, house: House) -> None:
    association = associate(port, house.context(house.scanner))
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_a_peer_that_proves_itself_stores_under_tls(house: House) -> None:
    sink = Sink()
    with listening(sink, tls=house.tls) as port:
        association = associate(port, house.context(house.scanner))
        assert association.send_c_store(small_instance(PixelData=bytes(1 << 20))).Status == 0x0000
        association.release()
    assert len(sink.received) == 1
    assert len(sink.received[0].encoded) > 1 << 20


@pytest.mark.parametrize("who", ["foreign", "expired", None], ids=["of a foreign authority", "expired", "none at all"])
def test_a_peer_whose_certificate_proves_nothing_is_turned_away_and_the_next_is_served(house: House, who: str | None) -> None:
    witness = Witness()
    with listening(Sink(), witness, tls=house.tls) as port:
        association = associate(port, house.context(getattr(house, who) if who else None))
        assert not association.is_established
        assert "certificate" in witness.wait_for(AssociationEventKind.REJECTED).reason
        assert_served(port, house)


def test_a_peer_without_tls_is_turned_away_and_the_next_is_served(house: House) -> None:
    with listening(Sink(), tls=house.tls) as port:
        association = associate(port, None)
        assert not association.is_established
        assert_served(port, house)


def test_idle_connections_hold_up_nobody(house: House) -> None:
    with listening(Sink(), tls=house.tls, acse_timeout_seconds=2 * SECONDS) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        assert_served(port, house)  # within SECONDS, while the idle ones may wait twice as long
        for connection in (*idle, half):
            connection.close()


def test_a_known_certificate_does_not_admit_an_unknown_title(house: House) -> None:
    witness = Witness()
    with listening(Sink(), witness, tls=house.tls) as port:
        assert associate(port, house.context(house.scanner), calling="STRANGER").is_rejected
        assert witness.wait_for(AssociationEventKind.REJECTED).calling_ae_title == "STRANGER"


def test_a_title_may_be_tied_to_its_certificate(house: House) -> None:
    witness = Witness()
    der = ssl.PEM_cert_to_DER_cert(house.scanner.certificate.read_text())
    scanner = Peer(ae_title=SCANNER_AE_TITLE, certificates=frozenset({hashlib.sha256(der).hexdigest()}))
    other = issued(house.folder, "other", house.authority)
    with listening(Sink(), witness, tls=house.tls, peers=(scanner,)) as port:
        assert associate(port, house.context(other)).is_rejected
        assert "certificate" in witness.wait_for(AssociationEventKind.REJECTED).reason
        assert_served(port, house)


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"], ids=["CBC with SHA-1", "CBC with SHA-2"])
def test_ciphers_that_bcp_195_does_not_recommend_are_refused(house: House, ciphers: str) -> None:
    context = house.context(house.scanner)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    with listening(Sink(), tls=house.tls) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(SECONDS)
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            context.wrap_socket(connection)


def test_versions_before_tls_1_2_are_refused(house: House) -> None:
    context = TlsIdentity(house.tls).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(house: House, tmp_path: Path) -> None:
    own = Identity(certificate=tmp_path / "own.pem", private_key=tmp_path / "own.key")
    _install(house.ours, own)
    tls = TlsSettings(certificate=own.certificate, private_key=own.private_key, trusted_certificates=house.authority.certificate)
    with listening(Sink(), tls=tls) as port:
        assert _shown(port, house) == _der(house.ours)
        renewed = issued(tmp_path, "renewed", house.authority)
        _install(renewed, own)
        assert _shown(port, house) == _der(renewed)
        own.certificate.write_text("half a certificate")
        assert _shown(port, house) == _der(renewed)
        _install(house.ours, own)
        assert _shown(port, house) == _der(house.ours)


def test_files_that_cannot_be_used_are_named_at_the_start(house: House, tmp_path: Path) -> None:
    wrong_key = TlsSettings(
        certificate=house.ours.certificate, private_key=house.scanner.private_key, trusted_certificates=house.authority.certificate
    )
    absent = TlsSettings(certificate=tmp_path / "absent.pem", private_key=house.ours.private_key, trusted_certificates=tmp_path / "none")
    for tls in (wrong_key, absent):
        with pytest.raises(UnusableCertificate, match="expected a PEM certificate with its key"):
            Listener(settings(tls=tls), InMemory(Sink()), Witness())


def test_the_end_of_a_certificate_is_what_openssl_says(house: House, tmp_path: Path) -> None:
    for identity in (house.ours, house.expired, issued(tmp_path, "long", house.authority, days=20_000)):
        said = subprocess.run(
            ["openssl", "x509", "-enddate", "-noout", "-in", str(identity.certificate)], capture_output=True, text=True, check=True
        ).stdout
        expected = datetime.strptime(said.strip().removeprefix("notAfter="), "%b %d %H:%M:%S %Y %Z")  # noqa: DTZ007  # both are UTC
        assert valid_until(identity.certificate).replace(tzinfo=None) == expected
    with pytest.raises(UnusableCertificate, match="in PEM form"):
        valid_until(house.ours.private_key)


def test_the_check_warns_before_the_certificate_expires(house: House) -> None:
    tls = TlsSection(
        certificate=house.ours.certificate, private_key=house.ours.private_key, trusted_certificates=house.authority.certificate
    )
    config = Config(listener=ConfiguredListener(tls=tls))
    end = valid_until(house.ours.certificate)
    assert "valid until" in certificate(config, end - timedelta(days=40))
    with pytest.raises(ConfigError, match=r"expires in 29 days.*renewed certificate"):
        certificate(config, end - timedelta(days=29, hours=1))
    with pytest.raises(ConfigError, match="has expired"):
        certificate(config, end + timedelta(days=1))


def test_pynetdicoms_data_path_refuses_tls_rather_than_offer_it_badly(house: House) -> None:
    with pytest.raises(PortUnavailable, match="data_path: direct"):
        ReferenceListener(settings(tls=house.tls), InMemory(Sink()), Witness())


@pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed (apt install dcmtk)")
def test_dcmtk_stores_under_tls(house: House, tmp_path: Path) -> None:
    sink, scanner = Sink(), house.scanner
    command = ["storescu", "+tls", str(scanner.private_key), str(scanner.certificate), "+cf", str(house.authority.certificate)]
    with listening(sink, tls=house.tls, door=DoorSettings()) as port:
        sent = subprocess.run(
            [*command, "-aet", SCANNER_AE_TITLE, "-aec", OUR_AE_TITLE, "127.0.0.1", str(port), str(write_instance(tmp_path))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert sent.returncode == 0, sent.stderr
    assert len(sink.received) == 1


def _install(source: Identity, target: Identity) -> None:
    """Replace both files in one go each, as a renewal does."""
    for kind in ("private_key", "certificate"):
        new = getattr(target, kind).with_suffix(".new")
        shutil.copy(getattr(source, kind), new)
        new.rename(getattr(target, kind))


def _der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())


def _shown(port: int, house: House) -> bytes | None:
    """The certificate that our listener shows."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(SECONDS)
        with house.context(house.scanner).wrap_socket(connection) as secured:
            return secured.getpeercert(binary_form=True)


def test_our_own_listener_is_called_under_tls_by_its_own_certificate_whatever_address_it_listens_on(house: House) -> None:
    sink, context = Sink(), own_listener_context(house.tls)
    with listening(sink, tls=house.tls) as port:
        association = associate(port, context)
        assert association.is_established
        association.release()


def test_another_certificate_than_our_own_is_not_taken_for_our_listener(house: House) -> None:
    others = TlsSettings(
        certificate=house.scanner.certificate,
        private_key=house.scanner.private_key,
        trusted_certificates=house.authority.certificate,
    )
    with listening(Sink(), tls=others) as port:
        assert not associate(port, own_listener_context(house.tls)).is_established
    with pytest.raises(UnusableCertificate, match="run this as the service's user"):
        own_listener_context(TlsSettings(certificate=Path("/none"), private_key=Path("/none"), trusted_certificates=Path("/none")))
