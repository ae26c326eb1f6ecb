"""Benchmark of fairness: what one peer's rate becomes beside peers that hang, drip, probe, knock or break the protocol."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from daemon.benchmarks.raw_sender import associate_rq, store_rq
from daemon.benchmarks.receiver import MATRIX, OURS, data_set_file, send_all, senders_of
from daemon.benchmarks.receivers import CALLED, CALLING, KINDS, running

PEERS = 8
SOP_CLASS, SYNTAX = b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.1.2.1"
Bother = Callable[[int, threading.Event], None]
"""Bothers the receiver on a port until told to stop."""


def measure_fairness(images: int, repetitions: int, say: Callable[[str], None]) -> Mapping[str, float]:
    """Return, for each kind of bother, the peer's rate beside it as a share of its rate alone: medians of interleaved repetitions."""
    shares: dict[str, list[float]] = {name: [] for name in BOTHERS}
    with data_set_file(MATRIX) as file, running(KINDS[OURS]) as (port, _pid):
        _rate(port, file, images, 0)
        first = images
        for repetition in range(repetitions):
            for name, bother in BOTHERS.items():
                before = _rate(port, file, images, first)
                with _bothered(port, bother):
                    beside = _rate(port, file, images, first + images)
                after = _rate(port, file, images, first + 2 * images)
                first += 3 * images
                shares[name].append(2 * beside / (before + after))
                say(f"{repetition + 1}/{repetitions} beside {name}: {shares[name][-1]:.2f}")
    return {name: statistics.median(found) for name, found in shares.items()}


def _rate(port: int, file: Path, images: int, first: int) -> float:
    with senders_of(port, file, 1, images, first) as senders:
        start = time.perf_counter()
        return send_all(senders) / (time.perf_counter() - start)


@contextlib.contextmanager
def _bothered(port: int, bother: Bother) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=bother, args=(port, stop)) for _ in range(PEERS)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _hang(port: int, stop: threading.Event) -> None:
    """Associate, send half an image and say no more."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(associate_rq(CALLING, CALLED, SOP_CLASS, SYNTAX) + store_rq(SOP_CLASS, bytes(200_000), 16384)[:-50_000])
        stop.wait()


def _idle(port: int, stop: threading.Event) -> None:
    """Connect and say nothing."""
    with socket.create_connection(("127.0.0.1", port)):
        stop.wait()


def _drip(port: int, stop: threading.Event) -> None:
    """Associate, and send an image byte by byte."""
    stream = associate_rq(CALLING, CALLED, SOP_CLASS, SYNTAX) + store_rq(SOP_CLASS, bytes(200_000), 16384)
    with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
        connection.sendall(stream[:2000])
        for byte in stream[2000:]:
            if stop.wait(0.02):
                return
            connection.sendall(bytes([byte]))


def _repeat(stream: bytes, pause: float) -> Bother:
    def bother(port: int, stop: threading.Event) -> None:
        while not stop.wait(pause):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(stream)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(4096)

    return bother


BOTHERS: Mapping[str, Bother] = {
    f"{PEERS} peers that hang within an image": _hang,
    f"{PEERS} idle connections": _idle,
    f"{PEERS} peers that drip": _drip,
    "health probes, up to 80 a second": _repeat(b"", 0.1),
    "strangers, up to 80 requests a second": _repeat(associate_rq("STRANGER", CALLED, SOP_CLASS, SYNTAX), 0.1),
    "bytes that are no PDU, up to 80 connections a second": _repeat(b"GET / HTTP/1.1\r\n\r\n", 0.1),
}
