"""A short, always equal run of every surface of the fuzz, and proof that its guard can fail; `make fuzz` runs long ones."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz import guard
from tests.fuzz.byte_faults import Dice
from tests.fuzz.guard import PATIENT, Finding
from tests.fuzz.surface import Surface, Try, run
from tests.fuzz.surfaces import SHARES, surface

COUNTS = {"series": 25, "weights": 12, "inbox": 80, "rules": 15, "config": 15, "seg": 30}
USUAL_COUNT = 40


@pytest.mark.filterwarnings("ignore")  # pydicom warns of the values that it is given here
@pytest.mark.parametrize("name", SHARES)
def test_damaged_inputs_are_taken_or_refused_in_words_and_nothing_else_happens(name: str, tmp_path: Path) -> None:
    count = COUNTS.get(name, USUAL_COUNT)
    tally = run(surface(name), tmp_path / name, 1, count)
    assert tally.inputs == count
    # Some came through, and some did not: the inputs reach far enough to prove something.
    assert len(tally.outcomes) > 1


def _endless() -> str:
    while True:
        pass


def _elsewhere(folder: Path) -> Callable[[], str]:
    return lambda: str((folder.parent / "stray").write_text("x"))


def _naming() -> str:
    raise ValueError(f"expected a number, got {PATIENT[0]}")


def _starting() -> str:
    return str(os.system("true"))


def _crashing() -> str:
    raise KeyError("x")


def _surface(code: Callable[[], str]) -> Surface:
    @contextlib.contextmanager
    def opened(_folder: Path) -> Iterator[Try]:
        yield lambda _dice: code()

    return Surface(name="one", opened=opened, refusals=(ValueError,))


@pytest.mark.parametrize(("code", "words"), [(_naming, "the patient is named"), (_endless, "hangs"), (_starting, "os.system")])
def test_the_guard_finds_what_must_not_happen(code: Callable[[], str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "CPU_SECONDS", 0.05)
    with pytest.raises(Finding, match=words) as found:
        run(_surface(code), tmp_path / "one", 3, 1)
    assert found.value.__notes__ == ["repeat: python -m tests.fuzz --surface one --seed 3 --first 0 --count 1"]


def test_the_guard_finds_a_file_outside_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(Finding, match="stray"):
        run(_surface(_elsewhere(tmp_path / "one")), tmp_path / "one", 3, 1)


def test_an_undeclared_error_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        run(_surface(_crashing), tmp_path / "one", 3, 1)


def test_an_input_is_made_of_its_seed_and_number_alone(tmp_path: Path) -> None:
    seen: list[float] = []

    @contextlib.contextmanager
    def opened(_folder: Path) -> Iterator[Try]:
        def attempt(dice: Dice) -> str:
            seen.append(dice.random())
            return "x"

        yield attempt

    counted = Surface(name="counted", opened=opened)
    run(counted, tmp_path / "a", 7, 3)
    run(counted, tmp_path / "b", 7, 3, first=2)
    assert seen[3] == seen[2]
    assert len(set(seen)) == 3
