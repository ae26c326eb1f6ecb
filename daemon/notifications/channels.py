"""The channels: one message with its notices goes out by HTTP POST, or as e-mail."""

from __future__ import annotations

import contextlib
import http.client
import json
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http import HTTPStatus
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from daemon.destination_settings import DestinationTls
from daemon.errors import ConfigError, Transient
from daemon.notification_settings import EmailChannel, NotificationSettings, WebhookChannel
from daemon.notifications.told import Notice
from daemon.routes import authorization, credentials, tls_context
from daemon.version import version

ONE_LINE = policy.SMTP.clone(max_line_length=900)
"""A subject is not folded; RFC 5322 section 2.1.1 allows 998 characters a line."""


class ChannelFailed(Transient):
    """A channel did not take a message; it is tried again."""

    code: ClassVar[str] = "notification-failed"


@dataclass(frozen=True, kw_only=True)
class Message:
    """What goes out at once."""

    source: str
    """Who speaks: the audit source id, else this host's name."""
    at: datetime
    notices: tuple[Notice, ...]

    def lines(self) -> Iterator[str]:
        """Yield a line a notice."""
        for notice in self.notices:
            cure = f" ({notice.cure})" if notice.cure else ""
            yield f"{notice.news.value}: {notice.text}; since {notice.since:%Y-%m-%d %H:%M}Z{cure}"


class Channel(Protocol):
    """Where messages go."""

    def send(self, message: Message) -> None:
        """Return when the other side took the message; raises ChannelFailed or ConfigError (of a credentials file)."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An HTTP server that takes JSON."""

    name: str
    own: WebhookChannel
    tls: ssl.SSLContext | None

    def send(self, message: Message) -> None:
        """Post the message; `text` is what chat servers show."""
        headers = {"Content-Type": "application/json", "User-Agent": f"medsam2d/{version()}"}
        if self.own.credentials_file is not None:
            headers["Authorization"] = authorization(self.own.credentials_file)
        with _told_as(self.name), contextlib.closing(self._connection()) as connection:
            connection.request("POST", urlsplit(self.own.url).path or "/", body=as_json(message), headers=headers)
            status = connection.getresponse().status
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise ChannelFailed(f"{self.name}: expected an HTTP status of 2xx, got {status}; check url and credentials_file")

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.own.url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=self.own.timeout_seconds, context=self.tls)
        return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=self.own.timeout_seconds)


@dataclass(frozen=True, kw_only=True)
class Email:
    """A mail server."""

    name: str
    own: EmailChannel
    tls: ssl.SSLContext | None

    def send(self, message: Message) -> None:
        """Hand the message over for all recipients; one that is refused fails it for all."""
        with _told_as(self.name), self._server() as server:
            if self.own.credentials_file is not None:
                _, login = credentials(self.own.credentials_file)
                user, _, password = login.partition(":")
                server.login(user, password)
            refused = server.send_message(as_mail(message, self.own.sender, self.own.recipients))
        if refused:
            raise ChannelFailed(f"{self.name}: expected every recipient to be taken, got a refusal of {len(refused)}; correct recipients")

    @contextlib.contextmanager
    def _server(self) -> Iterator[smtplib.SMTP]:
        own, here = self.own, socket.gethostname()
        if own.security == "tls":
            with smtplib.SMTP_SSL(own.host, own.port, here, timeout=own.timeout_seconds, context=self.tls) as server:
                yield server
            return
        with smtplib.SMTP(own.host, own.port, here, timeout=own.timeout_seconds) as server:
            if own.security == "starttls":
                server.starttls(context=self.tls)
            yield server


def channels_of(settings: NotificationSettings) -> Mapping[str, Channel]:
    """Return every configured channel. Raises ConfigError for certificates or credentials that cannot be used."""
    return {name: _channel(name, own) for name, own in settings.channels.items()}


def _channel(name: str, own: WebhookChannel | EmailChannel) -> Channel:
    setting = f"notifications.channels.{name}"
    if own.credentials_file is not None:
        scheme, _ = credentials(own.credentials_file)
        if isinstance(own, EmailChannel) and scheme != "basic":
            raise ConfigError(f"{own.credentials_file}: expected `basic USER:PASSWORD` for a mail server, got {scheme}")
    if isinstance(own, WebhookChannel):
        encrypts = own.url.startswith("https:")
        return Webhook(name=name, own=own, tls=tls_context(f"{setting}.tls", own.tls or DestinationTls()) if encrypts else None)
    encrypts = own.security != "plain"
    return Email(name=name, own=own, tls=tls_context(f"{setting}.tls", own.tls or DestinationTls()) if encrypts else None)


def as_json(message: Message) -> bytes:
    """Return the body of a webhook."""
    body: dict[str, Any] = {
        "text": "\n".join((f"medsam2d on {message.source}", *message.lines())),
        "source": message.source,
        "version": version(),
        "at": message.at.isoformat(),
        "notices": [
            {
                "kind": notice.key[0],
                "subject": notice.key[1],
                "news": notice.news.value,
                "since": notice.since.isoformat(),
                "count": notice.count,
                "text": notice.text,
                "cure": notice.cure,
            }
            for notice in message.notices
        ],
    }
    return json.dumps(body).encode()


def as_mail(message: Message, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Return the mail."""
    mail = EmailMessage(policy=ONE_LINE)
    first, more = message.notices[0], len(message.notices) - 1
    mail["Subject"] = f"[medsam2d {message.source}] {first.text}" + (f", and {more} more" if more else "")
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    mail["Date"], mail["Message-ID"] = format_datetime(message.at), make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's vacation notice answers it
    mail.set_content("\n".join((*message.lines(), "", f"medsam2d {version()} on {message.source}", "")))
    return mail


@contextlib.contextmanager
def _told_as(name: str) -> Iterator[None]:
    """Turn what can go wrong on the way into ChannelFailed. A server's own words are left out: they may quote what it was told."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        message = f"expected a certificate that we trust, got {error.verify_message}; name its authority in `tls.ca_file`"
        raise ChannelFailed(f"{name}: {message}") from error
    except smtplib.SMTPResponseException as error:
        raise ChannelFailed(f"{name}: expected the mail server to agree, got its code {error.smtp_code}; see its log") from error
    except (smtplib.SMTPException, http.client.HTTPException) as error:
        raise ChannelFailed(f"{name}: expected it to take a message, got {type(error).__name__}; see the server's log") from error
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise ChannelFailed(f"{name}: expected it to answer, got {what}; is it running, and host and port correct?") from error
