"""Decoders that may die, each in a process of its own: a torn code stream ends that process, never the worker and its model.

The decoders of JPEG, JPEG-LS and JPEG 2000 are C++ libraries. On some damaged streams they end their process without an
exception that Python could catch, and on others they might never end. So a parent hands them the path of one instance at a
time through a pipe, and takes back the stored values, a typed reason, or the news that the process is gone.

Message to the child: length (8 bytes, big endian), path. Answer: kind (1 byte), length, then an array in NumPy's own format
(`A`), a reason as text (`U` undecodable, `N` no pixels, `D` no DICOM), or the text of an OSError (`O`).
"""

from __future__ import annotations

import atexit
import io
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dicom_io.errors import NoPixels, NotDicom, RejectedInput, UndecodablePixels

SECONDS_AN_INSTANCE = 300.0
"""A slice takes milliseconds, an instance of a thousand frames half a minute."""
_KINDS: dict[bytes, type[RejectedInput]] = {b"U": UndecodablePixels, b"N": NoPixels, b"D": NotDicom}
_ARRAY, _FILE_FAULT = b"A", b"O"
_LENGTH = struct.Struct(">Q")
_CHUNK = 2**20
_SEND_AGAIN = "send the image again, or uncompressed"

_lock = threading.Lock()
_idle: list[_Decoder] = []


def decode_apart(path: Path, what: str, seconds: float = SECONDS_AN_INSTANCE) -> NDArray[np.generic]:
    """Return what `dicom_io.decode.decode_here` does of the instance at `path`, from a process of its own.

    `what` names the image in messages. Raises what that raises, UndecodablePixels too where the decoder dies or takes longer
    than `seconds`, and MemoryError where the system killed it, as it does when memory runs out. Any thread may call this.
    """
    with _lock:
        decoder = _idle.pop() if _idle else None
    decoder = decoder or _Decoder()
    try:
        kind, content = decoder.ask(path, time.monotonic() + seconds)
    except _Gone as gone:
        ended = decoder.close()
        if ended == -signal.SIGKILL and not gone.too_slow:
            raise MemoryError(f"{what}: the decoder was killed, as the system does when memory runs out") from gone
        how = f"took longer than {seconds:g} s" if gone.too_slow else "died of it"
        raise UndecodablePixels(f"{what}: the decoder failed: it {how}; {_SEND_AGAIN}") from gone
    with _lock:
        _idle.append(decoder)
    if kind == _ARRAY:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    text = content.decode("utf-8", "replace")
    raise OSError(text) if kind == _FILE_FAULT else _KINDS[kind](text)


class _Gone(Exception):
    """The decoder's process gives no answer any more."""

    def __init__(self, *, too_slow: bool) -> None:
        super().__init__()
        self.too_slow = too_slow


class _Decoder:
    """One child process that decodes an instance at a time."""

    def __init__(self) -> None:
        # The child finds this package wherever it runs; a `__main__` of the parent's is nothing to it.
        root = str(Path(__file__).resolve().parent.parent)
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dicom_io.decoder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def ask(self, path: Path, deadline: float) -> tuple[bytes, bytes]:
        """Return kind and content of the answer; raises _Gone."""
        name = os.fsencode(path.absolute())
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_LENGTH.pack(len(name)) + name)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise _Gone(too_slow=False) from error
        head = self._read(1 + _LENGTH.size, deadline)
        return bytes(head[:1]), bytes(self._read(_LENGTH.unpack(head[1:])[0], deadline))

    def close(self) -> int:
        """End the process if it has not ended; return its return code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        ended = self._process.poll()
        if ended is None:
            try:
                # It may be about to die: its own end tells more than ours.
                ended = self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                ended = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        return ended

    def _read(self, size: int, deadline: float) -> bytearray:
        """Exactly `size` bytes of its output before the deadline."""
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        found = bytearray()
        while len(found) < size:
            ready, _, _ = select.select([file], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise _Gone(too_slow=True)
            part = os.read(file, min(_CHUNK, size - len(found)))
            if not part:
                raise _Gone(too_slow=False)
            found += part
        return found


def close_all() -> None:
    """End every idle decoder; later calls start new ones."""
    with _lock:
        decoders = [*_idle]
        _idle.clear()
    for decoder in decoders:
        decoder.close()


atexit.register(close_all)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """The child: answer requests until the parent closes the pipe."""
    while len(head := requests.read(_LENGTH.size)) == _LENGTH.size:
        kind, content = _answer(Path(os.fsdecode(requests.read(_LENGTH.unpack(head)[0]))))
        answers.write(kind + _LENGTH.pack(len(content)))
        answers.write(content)
        answers.flush()


def _answer(path: Path) -> tuple[bytes, bytes]:
    from dicom_io.decode import decode_here  # the parent's side is imported by it
    from dicom_io.instance import read_header

    try:
        buffer = io.BytesIO()
        np.save(buffer, decode_here(read_header(path)), allow_pickle=False)
        return _ARRAY, buffer.getvalue()
    except RejectedInput as error:
        return next(kind for kind, reason in _KINDS.items() if isinstance(error, reason)), str(error).encode()
    except OSError as error:
        return _FILE_FAULT, str(error).encode()


if __name__ == "__main__":
    # Whoever stops the parent stops the whole group; what is in work here must not look like a fault of the data.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    serve(sys.stdin.buffer, answers)
