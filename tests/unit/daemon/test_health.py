"""Health checks: what fails is named, and asking often costs one look."""

from __future__ import annotations

from daemon.health import FRESH_SECONDS, Readiness


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_readiness_is_looked_at_once_for_all_who_ask_within_two_seconds_and_then_anew() -> None:
    answers = iter(["expected port 104 to be open, got refused", None])
    looks: list[str | None] = []

    def listener() -> str | None:
        looks.append(next(answers))
        return looks[-1]

    watch = Stopwatch()
    readiness = Readiness({"listener": listener, "disk": lambda: None}, watch)
    first = readiness.failing()
    first.clear()  # what a caller does with its answer is its own
    watch.seconds += FRESH_SECONDS * 0.9
    assert readiness.failing() == {"listener": "expected port 104 to be open, got refused"}
    assert len(looks) == 1
    watch.seconds += FRESH_SECONDS * 0.2
    assert readiness.failing() == {}
    assert len(looks) == 2
