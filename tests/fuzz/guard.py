"""What no input may lead to, whatever the code under test makes of it: a hang, a flood of memory, a file elsewhere, a patient's name.

Files are watched by an audit hook (PEP 578), which hears of every open, rename, removal, process and connection of Python code.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

MARKER = "Zebedee"
PATIENT = (f"{MARKER}^Ann", f"{MARKER}-4711")
"""Name and ID of every seed's patient."""
CPU_SECONDS = 20.0
"""Of the whole process for one input that takes milliseconds: nothing but a walk without end needs that."""
MEMORY_MIB = 600
"""That the process may grow by in one input. Rows and columns of 16 bits are affordable, so that half a GiB is no fault."""
LONGEST_WORDS = 4000
"""In a line of an error's message: more would be the input itself."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_STARTING = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pickle.find_class", "ctypes.dlopen")
_DECODER = "dicom_io.decoder_process"


class Finding(BaseException):
    """A fault of the product that an input led to; no boundary of the product may catch it."""


class Guard:
    """Watches while it is entered; `check` raises Finding for what one input led to."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.resolve())
        self._deeds: list[str] = []
        self._words = _Words()
        self._peak = _peak_kib()

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note an event of the interpreter that is none of the code's business."""
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._expect_inside(event, path)
        elif event in _CHANGING:
            if arguments[-1] not in (-1, None) and event in ("os.remove", "os.rmdir", "os.mkdir"):
                return  # relative to an open folder, as shutil.rmtree does
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                self._expect_inside(event, path)
        elif event in _STARTING:
            self._deeds.append(f"{event} {arguments[:2]}")
        elif event == "subprocess.Popen" and _DECODER not in str(arguments[1]):
            self._deeds.append(f"started {arguments[1]}")
        elif event == "socket.connect" and isinstance(arguments[1], tuple) and not ipaddress.ip_address(arguments[1][0]).is_loopback:
            self._deeds.append(f"called {arguments[1]}")

    def _expect_inside(self, event: str, path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  # resolving would itself open files
            if not place.startswith(self._folder) and place != os.devnull and "__pycache__" not in place:
                self._deeds.append(f"{event} {place}")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hear of everything until the end; only the main thread is told of a hang."""
        former = signal.signal(signal.SIGVTALRM, _hangs)
        root = logging.getLogger()
        _guards.append(self)
        root.addHandler(self._words)
        try:
            yield
        finally:
            root.removeHandler(self._words)
            _guards.remove(self)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
            signal.signal(signal.SIGVTALRM, former)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Bound the work for one input."""
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)

    def check(self) -> None:
        """Raise Finding for what was heard since the last time."""
        deeds, self._deeds = self._deeds, []
        if deeds:
            raise Finding(f"outside of its folder: {deeds[:3]}")
        words, self._words.heard = self._words.heard, []
        for text in words:
            expect_discreet(text)
        peak = _peak_kib()
        grown, self._peak = (peak - self._peak) >> 10, peak
        if grown > MEMORY_MIB:
            raise Finding(f"memory grew by {grown} MiB")


def expect_discreet(text: str) -> None:
    """Raise Finding for words that name the patient, carry control characters into a log, or go on and on."""
    if MARKER.lower() in text.lower():
        raise Finding(f"the patient is named: {text[:600]!r}")
    if any(len(line) > LONGEST_WORDS for line in text.split("\n")):
        raise Finding(f"{len(text)} characters of words: {text[:300]!r}")
    if any(ord(character) < 32 and character != "\n" for character in text):
        raise Finding(f"control characters in words: {text[:600]!r}")


class _Words(logging.Handler):
    """Keeps what the service would log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


_guards: list[Guard] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for guard in _guards:
        guard.heard(event, arguments)


sys.addaudithook(_hook)


def _hangs(_number: int, _frame: FrameType | None) -> None:
    raise Finding(f"hangs: more than {CPU_SECONDS:.0f} s of processor time")


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
