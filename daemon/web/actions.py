"""What the buttons of the page do: ask a destination, let go on what was put aside. Nothing else can be changed by the page."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon.audit import Audit
from daemon.config import Config
from daemon.destination_probe import ask, is_there, remember
from daemon.errors import FORESEEN, ConfigError, classify
from daemon.person import Person
from daemon.releases import quarantined_instance, quarantined_job, release_instances, release_job, release_results
from daemon.store import IllegalMove, InputsRemoved, Store, UnknownInstance, UnknownJob

NOT_POSSIBLE: tuple[type[Exception], ...] = (*FORESEEN, IllegalMove, InputsRemoved, UnknownInstance, UnknownJob)
KEPT_OUTCOMES = 50


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an action, in words for the person that asked."""

    good: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Action:
    """A button: what it does with its subject (the number of a job, the name of a destination), and the page that says what came of it."""

    back: str
    do: Callable[[str, Person], str]
    """Returns what to say. Raises what `NOT_POSSIBLE` names."""


def actions_of(settings: Config, store: Store, audit: Audit) -> Mapping[str, Action]:
    """Return the actions by the name that their forms are sent to."""
    asking = threading.Lock()

    def asked(name: str, question: Callable[[str], str]) -> str:
        if name not in settings.destinations:
            raise ConfigError("expected the name of a destination of the configuration, got another")
        # One question at a time: a destination that hangs holds one thread, however often the button is pressed.
        if not asking.acquire(blocking=False):
            raise ConfigError("a destination is being asked just now; wait for its answer, then press again")
        try:
            answer = question(name)
            return answer if answer.startswith(name) else f"{name}: {answer}"
        finally:
            asking.release()

    def probe(name: str) -> str:
        found = ask(settings, name)
        remember(store, found)
        return found.found

    def try_job(number: str, person: Person) -> str:
        job = release_job(store, audit, quarantined_job(store, _number(number)).id, person)
        return f"Job {job.id} is {job.state.value.lower()} and will be tried again."

    def accept_instance(number: str, person: Person) -> str:
        count = release_instances(store, audit, [quarantined_instance(store, _number(number))], person)
        return f"{count} instance(s) now stand for what came first; their series waits for its next job."

    def send_results(name: str, person: Person) -> str:
        return f"{release_results(store, audit, name, person)} result(s) will be sent to {name} again."

    return {
        "echo": Action(back="/destinations", do=lambda name, _: asked(name, lambda known: is_there(settings, known))),
        "probe": Action(back="/destinations", do=lambda name, _: asked(name, probe)),
        "release-results": Action(back="/quarantine", do=send_results),
        "release-job": Action(back="/quarantine", do=try_job),
        "release-instance": Action(back="/quarantine", do=accept_instance),
    }


def outcome_of(action: Action, subject: str, person: Person) -> Outcome:
    """Carry out an action; what cannot be done is an outcome with its reason."""
    try:
        return Outcome(good=True, text=action.do(subject, person))
    except NOT_POSSIBLE as error:
        judged = classify(error)
        return Outcome(good=False, text=f"[{judged.code}] {judged.message}")


class Outcomes:
    """The latest outcomes, each under a name that nobody guesses: the redirect after an action carries the name, never words."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Outcome] = OrderedDict()

    def keep(self, outcome: Outcome) -> str:
        """Return the name of an outcome."""
        name = secrets.token_urlsafe(12)
        self._kept[name] = outcome
        while len(self._kept) > KEPT_OUTCOMES:
            self._kept.popitem(last=False)
        return name

    def find(self, name: str) -> Outcome | None:
        """Return an outcome; None under a name that is unknown, or was forgotten."""
        return self._kept.get(name)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ConfigError("expected a number as the page shows it, got something else")
    return int(text)
