"""Notifications in the configuration: what is told, how often, and over which channels, a webhook or e-mail."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from daemon.destination_settings import DestinationTls
from daemon.notifications.conditions import Kind
from daemon.setting_types import FilePath, Host, HttpUrl, Name, Port
from rules.scalars import Integer, Number, Section

Seconds = Annotated[Number, Field(gt=0, le=3600)]
Minutes = Annotated[Number, Field(gt=0, le=7 * 1440)]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _mailbox(text: str) -> str:
    local, _, domain = text.rpartition("@")
    if not local or not domain or not text.isascii() or not text.isprintable() or any(one in text for one in ' ,;<>"'):
        raise ValueError(f"expected a plain mail address such as pacs-team@hospital.example, got {text!r}")
    return text


Mailbox: TypeAlias = Annotated[str, AfterValidator(_mailbox), Field(json_schema_extra={"format": "mailbox"})]


class WebhookChannel(Section):
    """An HTTP server that takes notices as JSON, by POST."""

    kind: Literal["webhook"]
    """webhook: HTTP POST; email: SMTP."""
    url: HttpUrl
    """Where notices are posted; anything but an answer of 2xx is tried again, and no redirect is followed."""
    credentials_file: FilePath | None = None
    """A file with one line, readable for the service's user alone: `bearer TOKEN`, or `basic USER:PASSWORD`."""
    timeout_seconds: Seconds = 10.0
    """How long each step (connecting, sending, the answer) may take."""
    tls: DestinationTls | None = None
    """Absent: https trusts the authorities of the operating system."""

    @model_validator(mode="after")
    def _secret_stays_secret(self) -> WebhookChannel:
        if self.credentials_file is not None and self.url.startswith("http:") and urlsplit(self.url).hostname not in LOOPBACK:
            raise ValueError("expected an https URL, since credentials would cross the network in plain text, got http")
        return self


class EmailChannel(Section):
    """A mail server (SMTP) that takes notices for some recipients."""

    kind: Literal["email"]
    """webhook: HTTP POST; email: SMTP."""
    host: Host
    """The mail server."""
    port: Annotated[Port, Field(ge=1)] = 587
    """587 for starttls, 465 for tls, 25 for plain."""
    security: Literal["starttls", "tls", "plain"] = "starttls"
    """starttls: plain text is turned into TLS before anything is said (port 587); tls: from the start (port 465); plain: never."""
    credentials_file: FilePath | None = None
    """A file with one line, readable for the service's user alone: `basic USER:PASSWORD`; absent: the server asks for none."""
    sender: Mailbox
    """The address in From."""
    recipients: Annotated[tuple[Mailbox, ...], Field(min_length=1)]
    """Who gets every message."""
    timeout_seconds: Seconds = 10.0
    """How long each step may take."""
    tls: DestinationTls | None = None
    """Absent: the authorities of the operating system vouch for the server."""

    @model_validator(mode="after")
    def _secret_stays_secret(self) -> EmailChannel:
        if self.credentials_file is not None and self.security == "plain" and self.host not in LOOPBACK:
            raise ValueError("expected security: starttls or tls, since credentials would cross the network in plain text, got plain")
        return self


def _kind(value: Any) -> str:
    return str(value.get("kind", "") if isinstance(value, dict) else getattr(value, "kind", ""))


Channel: TypeAlias = Annotated[Annotated[WebhookChannel, Tag("webhook")] | Annotated[EmailChannel, Tag("email")], Discriminator(_kind)]


class NotificationSettings(Section):
    """Who is told when something needs a person. Notices hold numbers and names of the configuration, never anything of a patient."""

    channels: Annotated[dict[Name, Channel], Field(min_length=1)]
    """Where notices go, by name."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = tuple(Kind)
    """What is told; absent: everything."""
    repeat_hours: Annotated[Number, Field(gt=0, le=24 * 31)] = 24.0
    """What goes on is told again after so long."""
    minimum_seconds: Annotated[Number, Field(ge=0, le=86_400)] = 300.0
    """Between two messages of one channel; what happens meanwhile comes together in the next."""
    destination_minutes: Minutes = 15.0
    """A destination counts as down when a result that it did not take has waited for so long."""
    audit_minutes: Minutes = 15.0
    """Forwarding counts as stalled when an audit record has waited for so long (audit.syslog)."""
    disk_free_percent: Annotated[Number, Field(gt=0, lt=100)] = 10.0
    """Less free space on the disk of spool, state or results is told."""
    certificate_days: Annotated[Integer, Field(ge=0, le=3650)] = 30
    """A certificate of ours that expires within so many days is told."""
    process_ends: Annotated[Integer, Field(ge=1, le=16)] = 3
    """A process that ended so often within ten minutes keeps dying."""
