"""Notices from a store to a real HTTP server and a real SMTP server, both on loopback; and nothing of a patient in them."""

from __future__ import annotations

import json
import os
import ssl
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from daemon.audit import open_audit
from daemon.audit_forwarding import Cursor
from daemon.config import Config, FolderSettings, load_config
from daemon.errors import ConfigError, Transient
from daemon.notification_settings import NotificationSettings
from daemon.notifications.channels import ChannelFailed, Message, channels_of
from daemon.notifications.notifier import desks_of
from daemon.notifications.told import News, Notice
from daemon.notifications.watch import Watch
from daemon.process_record import RoleRecord, write_processes
from rules.errors import ConfigFaults
from tests.component.certificates import Identity, authority, issued, needs_openssl
from tests.component.delivery_site import finished, item
from tests.component.message_sinks import HttpSink, MailSink, http_server, mail_server
from tests.component.store_site import START, Site, claimed, new_site, queued, worker
from tests.component.test_patient_data_stay_inside import PLANTED, VALUES

GIB = 2**30
SERIES_UID = "2.25.91827364554637281900"
"""Long enough that no time, port or Message-ID of a letter holds it by chance."""


def channel_settings(**channels: dict[str, Any]) -> NotificationSettings:
    return NotificationSettings.model_validate({"channels": channels})


def webhook(port: int, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "url": f"http://127.0.0.1:{port}/hook", **more}


def email(port: int, **more: Any) -> dict[str, Any]:
    own = {"kind": "email", "host": "localhost", "port": port, "security": "plain"}
    return {**own, "sender": "medsam2d@hospital.example", "recipients": ("pacs@hospital.example", "it@hospital.example"), **more}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def settings_at(folder: Path, own: NotificationSettings, **more: Any) -> Config:
    (folder / "state" / "spool").mkdir(parents=True, exist_ok=True)
    return Config(folders=FolderSettings(state=folder / "state"), notifications=own, **more)


def watch(site: Site, settings: Config, free: float = 0.5) -> Watch:
    assert settings.notifications is not None
    room = lambda folder: (round(free * 100 * GIB), 100 * GIB)  # noqa: E731
    return Watch(settings=settings, own=settings.notifications, store=site.store, clock=site.clock, disk=room)


def troubled(site: Site) -> None:
    """Everything that goes wrong does, and quotes the patient where it can."""
    finished(site, item(site, 1), item(site, 2, "research"))
    for destination, act in (("pacs", "postpone"), ("research", "refused")):
        (delivery,) = site.store.claim_deliveries(worker(), destination)
        getattr(site.store, act)(delivery, "object-refused", f"0xC001 {PLANTED['PatientName']} is too large")
    queued(site, series=SERIES_UID)
    site.store.fail(claimed(site), "bug-ValueError", f"Traceback: {PLANTED['PatientID']}", 1)


@needs_openssl
def test_each_kind_is_seen_where_it_is_and_not_before_its_time(site: Site, tmp_path: Path) -> None:
    ca = authority(tmp_path, "ca")
    pair = issued(tmp_path, "ours", ca)
    own = channel_settings(chat=webhook(1))
    listener = {"tls": {"certificate": pair.certificate, "private_key": pair.private_key, "trusted_certificates": ca.certificate}}
    syslog = {"syslog": {"host": "audit.example"}}
    settings = settings_at(tmp_path, own, listener=listener, audit=syslog)
    open_audit(settings.folders.audit, site.clock).drain(begins=True)
    troubled(site)
    site.clock.forward(60)
    early = {condition.key: condition.count for condition in watch(site, settings).conditions()}
    assert early == {("job-quarantined", ""): 1, ("delivery-quarantined", "research"): 1}
    site.clock.forward(900)
    write_processes(settings.folders.state, {"worker": RoleRecord(ready=False, ended=(site.clock(),) * 3)})
    late = {condition.key for condition in watch(site, settings, free=0.05).conditions()}
    assert late - set(early) == {
        ("destination-down", "pacs"),
        ("disk-low", "spool"),
        ("disk-low", "state"),
        ("process-dies", "worker"),
        ("audit-stalled", ""),
    }
    site.clock.forward(86_400 * 365 * 40)
    latest = {condition.key: condition for condition in watch(site, settings).conditions()}
    assert "expired on" in latest["certificate-expires", "listener"].measure
    assert ("process-dies", "worker") not in latest, "it has not died for long"
    only = settings_at(tmp_path, own.model_copy(update={"kinds": ("audit-stalled",)}), audit=syslog)
    assert {condition.kind.value for condition in watch(site, only).conditions()} == {"audit-stalled"}


def test_forwarding_that_moves_on_is_not_stalled_however_old_the_record(site: Site, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, channel_settings(chat=webhook(1)), audit={"syslog": {"host": "audit.example"}})
    audit = open_audit(settings.folders.audit, site.clock)
    first, _ = audit.drain(begins=True), audit.drain(begins=False)
    cursor = Cursor(settings.folders.audit)
    cursor.move(f"audit-{START:%Y-%m-%d}.jsonl", first.hash)
    moved = (START + timedelta(hours=9)).timestamp()
    os.utime(settings.folders.audit / "forwarded", (moved, moved))
    site.clock.now = START + timedelta(hours=9, minutes=14)
    assert watch(site, settings).conditions() == ()
    site.clock.forward(120)
    assert [one.key for one in watch(site, settings).conditions()] == [("audit-stalled", "")]


def test_notices_reach_a_webhook_and_a_mailbox_and_name_no_patient(site: Site, tmp_path: Path) -> None:
    web, mail = HttpSink(), MailSink()
    with http_server(web) as http_port, mail_server(mail) as mail_port:
        secrets = tmp_path / "secret"
        secrets.write_text("bearer a-token-for-chat\n")
        own = channel_settings(chat=webhook(http_port, credentials_file=secrets), operators=email(mail_port))
        settings = settings_at(tmp_path, own, audit={"source_id": "node-7"})
        desks = desks_of(settings, own, site.clock)
        troubled(site)
        site.clock.forward(3600)
        found = watch(site, settings).conditions()
        assert [desk.tell(found) for desk in desks] == [True, True]
        site.store.release_deliveries()
        site.clock.forward(3600)
        assert [desk.tell(watch(site, settings).conditions()) for desk in desks] == [True, True]
    first, second = web.bodies
    assert web.headers[0]["Authorization"] == "Bearer a-token-for-chat"
    assert first["source"] == "node-7"
    assert [(one["kind"], one["subject"], one["news"], one["count"]) for one in first["notices"]] == [
        ("destination-down", "pacs", "raised", 1),
        ("job-quarantined", "", "raised", 1),
        ("delivery-quarantined", "research", "raised", 1),
    ]
    assert "medsam2d on node-7\nraised: pacs: 1 result(s) that it did not take wait; since 2026-01-02" in first["text"]
    assert ("delivery-quarantined", "cleared") in [(one["kind"], one["news"]) for one in second["notices"]]
    letter = message_from_bytes(mail.mails[0], policy=policy.default)
    assert letter["Subject"] == "[medsam2d node-7] pacs: 1 result(s) that it did not take wait, and 2 more"
    assert letter["To"] == "pacs@hospital.example, it@hospital.example"
    assert letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_content()
    assert "(medsam2d echo pacs)" in text
    seen = json.dumps(web.bodies) + b"".join(mail.mails).decode() + "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert [value for value in VALUES if value in seen] == []
    assert SERIES_UID not in seen, "no UID either"
    assert "1.2.826" not in seen


@needs_openssl
def test_a_mail_server_hears_no_credentials_before_tls(tmp_path: Path) -> None:
    ca = authority(tmp_path, "ca")
    context = server_context(issued(tmp_path, "server", ca))
    secrets = tmp_path / "secret"
    secrets.write_text("basic medsam2d:open sesame: or not\n")
    message = message_of_one()
    with mail_server(sink := MailSink(tls=context)) as port:
        own = email(port, security="starttls", credentials_file=secrets, tls={"ca_file": ca.certificate})
        channels_of(channel_settings(operators=own))["operators"].send(message)
        strange = email(port, security="starttls", credentials_file=secrets)
        with pytest.raises(ChannelFailed, match="expected a certificate that we trust"):
            channels_of(channel_settings(operators=strange))["operators"].send(message)
    assert ("AUTH", True) in sink.said
    assert {word for word, encrypted in sink.said if not encrypted} == {"EHLO", "STARTTLS"}
    assert len(sink.mails) == 1


@needs_openssl
def test_https_and_mail_over_tls_reach_only_a_server_that_a_named_authority_vouches_for(tmp_path: Path) -> None:
    ca = authority(tmp_path, "ca")
    context = server_context(issued(tmp_path, "server", ca))
    secrets = tmp_path / "secret"
    secrets.write_text("basic medsam2d:open sesame\n")
    web, mail = HttpSink(tls=context), MailSink(tls=context, tls_from_the_start=True)
    with http_server(web) as http_port, mail_server(mail) as mail_port:
        https = webhook(http_port, url=f"https://localhost:{http_port}/hook", credentials_file=secrets)
        smtps = email(mail_port, security="tls", credentials_file=secrets)
        for own in (https, smtps):
            with pytest.raises(ChannelFailed, match="expected a certificate that we trust"):
                channels_of(channel_settings(one=own))["one"].send(message_of_one())
            channels_of(channel_settings(one={**own, "tls": {"ca_file": ca.certificate}}))["one"].send(message_of_one())
    # Nothing was said to the stranger: each server heard one message, the second.
    assert [headers["Authorization"] for headers in web.headers] == ["Basic bWVkc2FtMmQ6b3BlbiBzZXNhbWU="]
    assert [word for word, _ in mail.said].count("AUTH") == 1
    assert all(encrypted for _, encrypted in mail.said)
    assert (len(web.bodies), len(mail.mails)) == (1, 1)


def server_context(pair: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.private_key)
    return context


def message_of_one() -> Message:
    notice = Notice(key=("test", ""), news=News.RAISED, since=START, count=0, text="this is a test", cure="")
    return Message(source="here", at=START, notices=(notice,))


def test_what_a_server_answers_is_told_by_its_code_alone(tmp_path: Path) -> None:
    message = message_of_one()
    with http_server(HttpSink(status=302)) as port, pytest.raises(ChannelFailed, match="expected an HTTP status of 2xx, got 302"):
        channels_of(channel_settings(chat=webhook(port)))["chat"].send(message)
    with pytest.raises(ChannelFailed, match="is it running"):
        channels_of(channel_settings(chat=webhook(port)))["chat"].send(message)
    with (
        mail_server(MailSink(refuses=b"it@", refusal=PLANTED["PatientName"])) as port,
        pytest.raises(ChannelFailed, match="every recipient") as refused,
    ):
        channels_of(channel_settings(operators=email(port)))["operators"].send(message)
    with mail_server(MailSink(refuses=b"@", refusal=PLANTED["PatientName"])) as port, pytest.raises(ChannelFailed) as all_refused:
        channels_of(channel_settings(operators=email(port)))["operators"].send(message)
    assert "QUASIMODO" not in f"{refused.value}{all_refused.value}"


def test_a_person_can_try_the_channels(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from daemon.cli import app

    path = tmp_path / "config.yaml"
    with http_server(web := HttpSink()) as good, http_server(HttpSink(status=403)) as bad:
        lines = [f"    {name}: {{kind: webhook, url: 'http://127.0.0.1:{port}/x'}}" for name, port in (("chat", good), ("other", bad))]
        path.write_text("notifications:\n  channels:\n" + "\n".join(lines) + "\n")
        both = CliRunner().invoke(app, ["notifications", "test", "--config", str(path)])
        one = CliRunner().invoke(app, ["notifications", "test", "chat", "--json", "--config", str(path)])
    assert both.exit_code == 1
    assert both.output.splitlines()[0] == "ok   chat: taken"
    assert "FAIL other: [notification-failed] other: expected an HTTP status of 2xx, got 403" in both.output
    assert (one.exit_code, json.loads(one.output)) == (0, [{"name": "chat", "good": True, "found": "taken"}])
    assert [body["notices"][0]["text"] for body in web.bodies] == ["this is a test, nothing needs a person"] * 2


@pytest.mark.parametrize(
    ("channel", "complaint"),
    [
        ("{kind: webhook, url: http://chat.example/x, credentials_file: c}", "expected an https URL"),
        ("{kind: email, host: m.example, security: plain, credentials_file: c, sender: a@b, recipients: [a@b]}", "expected security"),
        ("{kind: email, host: m.example, sender: a@b, recipients: ['a@b, c@d']}", "plain mail address"),
        ("{kind: pigeon}", "'webhook', 'email'"),
    ],
)
def test_a_channel_that_could_betray_a_secret_or_reach_nobody_is_no_configuration(channel: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"notifications: {{channels: {{one: {channel}}}}}\n")
    with pytest.raises(ConfigFaults, match=complaint):
        load_config(path)


def test_credentials_that_cannot_be_used_are_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("bearer token\n")
    with pytest.raises(ConfigError, match="expected `basic USER:PASSWORD` for a mail server"):
        channels_of(channel_settings(operators=email(25, credentials_file=tmp_path / "secret")))
    with pytest.raises(ConfigError, match="cannot be read"):
        channels_of(channel_settings(chat=webhook(80, credentials_file=tmp_path / "absent")))
    assert issubclass(ChannelFailed, Transient)
