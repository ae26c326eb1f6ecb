"""What will become of a test study, by configuration and rules: may it come in, which rule takes it, and where would its results go?

Asked before anything is sent: a test result must never reach an archive unless the person who sends the test has named that archive.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from daemon.config import Config
from daemon.errors import ConfigError
from daemon.folder_study import Sender, read_folder, request_for
from daemon.health import ANY_ADDRESS
from daemon.live_test.study import LiveStudy
from daemon.planning import matched_parts
from daemon.roles import listener_settings
from daemon.rules_in_use import checked_rules
from dicom_io.admission import Rejection, Request, Right, judge_request
from dicom_io.errors import PeerUnreachable
from dicom_io.peer import Destination
from dicom_io.tls import own_listener_context
from rules.match import NoMatch, match

CONNECT_SECONDS = 5.0
SHIPPED_RULE = "rules/library/00_send_test.yaml"
MOST_REASONS = 8


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What configuration and rules say."""

    rule: str
    destinations: tuple[str, ...]
    """Those that get results of the rule, for review too; empty: results stay in the results folder."""
    quiet_seconds: float
    """How long nothing must come before the series counts as complete."""


def own_listener(settings: Config, sender: Sender) -> Destination:
    """Return our own listener as a peer to send to. Raises ConfigError or UnusableCertificate."""
    own = settings.listener
    if own.port == 0:
        raise ConfigError("listener.port: expected a fixed port, which a test can be sent to, got 0 (a free one); set it")
    tls = listener_settings(settings).tls
    return Destination(
        name="the listener",
        host=ANY_ADDRESS.get(own.host, own.host),
        port=own.port,
        ae_title=sender.called_ae_title,
        calling_ae_title=sender.calling_ae_title,
        connection_timeout_seconds=CONNECT_SECONDS,
        tls=None if tls is None else own_listener_context(tls),
    )


def address_towards(listener: Destination) -> str:
    """Return the address that we call the listener from. Raises PeerUnreachable where nobody listens."""
    try:
        with socket.create_connection((listener.host, listener.port), CONNECT_SECONDS) as stream:
            return str(stream.getsockname()[0])
    except OSError as error:
        raise PeerUnreachable(
            f"expected the service to listen on {listener.host}:{listener.port}, got {error.strerror or type(error).__name__};"
            " start it (`systemctl start medsam2d`), or correct `listener`"
        ) from error


def expect_admission(settings: Config, sender: Sender) -> None:
    """Find out whether the listener would let the test in, and store. Raises ConfigError with what to add."""
    own = listener_settings(settings)
    request = Request(calling_ae_title=sender.calling_ae_title, called_ae_title=sender.called_ae_title, peer_address=sender.source_address)
    # Which certificate is shown is found out by the connection alone.
    judged = judge_request(request, own.ae_titles, [replace(peer, certificates=frozenset()) for peer in own.peers])
    entry = f"{{ae_title: {sender.calling_ae_title}, networks: [{sender.source_address}], rights: [echo, store]}}"
    if judged is Rejection.CALLED_AE_TITLE:
        raise ConfigError(
            f"expected --called-ae-title to be one of {', '.join(own.ae_titles)}, got {sender.called_ae_title};"
            " see `listener.called_ae_titles`"
        )
    if isinstance(judged, Rejection):
        raise ConfigError(
            f"the listener admits no {sender.calling_ae_title} from {sender.source_address} ({judged.text}); add to `listener.peers`:"
            f" {entry} and restart the service, or pass --calling-ae-title with a peer of this machine"
        )
    if Right.STORE not in judged.rights:
        raise ConfigError(
            f"the peer {sender.calling_ae_title} may not store; give it the right in `listener.peers`: {entry}, and restart the service"
        )


def forecast(settings: Config, sender: Sender, study: LiveStudy) -> Forecast:
    """Return what the rules make of the study, as the worker will find it. Raises ConfigError where no rule takes it."""
    ruleset = checked_rules(settings)
    groups = read_folder(study.folder)
    (headers,) = groups.values()
    request = request_for(headers, groups, sender)
    plans = [plan for plan, _ in matched_parts(request, ruleset) if plan.rule.is_live]
    if not plans:
        judged = match(request.attributes_of(request.series.stacks[0]), ruleset)
        reasons = judged.reasons if isinstance(judged, NoMatch) else ()
        raise ConfigError(
            "no rule takes the test study; put a copy of the shipped "
            f"{SHIPPED_RULE} first among `rules.paths`, or pass --calling-ae-title of a sender that your rules know. "
            + "; ".join(reasons[:MOST_REASONS])
        )
    rule = plans[0].rule
    return Forecast(
        rule=rule.name,
        destinations=(*rule.destinations, *rule.review),
        quiet_seconds=rule.completeness.quiet_seconds or settings.arrivals.quiet_seconds,
    )


def expect_named(found: Forecast, named: Sequence[str]) -> None:
    """Refuse to send where a result would go to a destination that nobody named. Raises ConfigError."""
    unnamed = [name for name in found.destinations if name not in named]
    if unnamed:
        options = " ".join(f"--to {name}" for name in found.destinations)
        raise ConfigError(
            f"rule {found.rule!r} would take the test study, and send its results to {', '.join(unnamed)}: nothing was sent. Pass {options}"
            f" if they may get a result marked as a test, or put a copy of the shipped {SHIPPED_RULE}, which sends to nobody, first among"
            " `rules.paths`"
        )
