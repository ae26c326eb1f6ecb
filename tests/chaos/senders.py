"""Senders under chaos: DCMTK's storescu and our own send a study again until every instance of it was acknowledged."""

from __future__ import annotations

import random
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dicom_io.errors import PeerError
from dicom_io.peer import Destination
from dicom_io.sender import open_session, read_outgoing
from dicom_io.store_status import Outcome
from dicom_io.synthesis import SyntheticStudy, write_ct_series

SLICES, SIZE = 4, 64
PAUSE_SECONDS = 0.3
LIMIT_SECONDS = 30
ANSWERED = re.compile(r"^I: (?:Sending file: (?P<file>.*)|Received Store Response \((?P<answer>.*)\))$", re.MULTILINE)


@dataclass(kw_only=True)
class Sent:
    """What every sender together sent, and what of it was acknowledged. Safe to use from several threads."""

    studies: list[Path] = field(default_factory=list)
    """Folders, each of one study with one series."""
    acknowledged: dict[Path, int] = field(default_factory=dict)
    """File -> how often it was answered with success."""
    refused: int = 0
    """Exchanges that ended in anything but success: the sender kept the instances and sent them again."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, files: list[Path], *, whole: bool) -> None:
        """Keep what one exchange achieved."""
        with self._lock:
            for file in files:
                self.acknowledged[file] = self.acknowledged.get(file, 0) + 1
            self.refused += not whole

    def began(self, study: Path) -> None:
        """Keep the name of a study before its first byte goes out."""
        with self._lock:
            self.studies.append(study)


Send = Callable[[int, list[Path]], list[Path]]
"""(port, files) -> those that were acknowledged; never raises for what a peer or network does."""


def send_with_dcmtk(port: int, files: list[Path]) -> list[Path]:
    """Send with storescu in one association, and believe only what its log says was answered with success."""
    waits = ["-to", "5", "-ta", "5", "-td", "10", "-ts", "10"]
    command = ["storescu", "-v", *waits, "-aec", "MEDSAM2D", "127.0.0.1", str(port), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * LIMIT_SECONDS, check=False)
    acknowledged, sending = [], None
    for found in ANSWERED.finditer(done.stdout + done.stderr):
        if found["file"]:
            sending = Path(found["file"])
        elif sending is not None and found["answer"] == "Success":
            acknowledged.append(sending)
    return acknowledged


def send_with_ours(port: int, files: list[Path]) -> list[Path]:
    """Send with the daemon's own sender in one association."""
    listener = Destination(
        name="chaos",
        host="127.0.0.1",
        port=port,
        ae_title="MEDSAM2D",
        calling_ae_title="STORESCU",
        connection_timeout_seconds=5,
        acse_timeout_seconds=5,
        dimse_timeout_seconds=10,
        network_timeout_seconds=10,
    )
    acknowledged: list[Path] = []
    try:
        items = [read_outgoing(file) for file in files]
        with open_session(listener, items) as session:
            for item in items:
                if session.send(item).outcome is Outcome.STORED:
                    acknowledged.append(item.path)
    except (PeerError, OSError):
        pass  # what was answered before stands; the rest is sent again
    return acknowledged


def make_study(folder: Path, seed: int) -> list[Path]:
    """Write a series of `SLICES` CT images with a bright disc where the rule's box is."""
    _, rows, columns = np.mgrid[0:SLICES, 0:SIZE, 0:SIZE]
    disc = (columns - 20) ** 2 + (rows - 32) ** 2 < 100
    voxels = np.where(disc, 60.0, -900.0) + np.random.default_rng(seed).normal(0, 10, disc.shape)
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    return list(write_ct_series(folder, voxels, affine, SyntheticStudy(seed=seed)))


def send_studies(send: Send, port: int, folder: Path, numbers: range, sent: Sent, over: threading.Event, draw: random.Random) -> None:
    """Send one study after the other, each until it is whole, now and then an earlier one again; end when chaos is over."""
    whole: list[list[Path]] = []
    for number in numbers:
        if over.is_set() and whole:
            break
        files = make_study(folder / str(number), number)
        sent.began(folder / str(number))
        _send_whole(send, port, files, sent)
        whole.append(files)
        if draw.random() < 0.25:
            sent.note(send(port, draw.choice(whole)), whole=True)
        over.wait(draw.uniform(0.2, 2.0))


def _send_whole(send: Send, port: int, files: list[Path], sent: Sent) -> None:
    left = list(files)
    while left:
        # A sender does not know what was kept of an exchange that broke: some send everything again.
        acknowledged = send(port, left)
        sent.note(acknowledged, whole=len(acknowledged) == len(left))
        left = [file for file in left if file not in acknowledged]
        if left:
            threading.Event().wait(PAUSE_SECONDS)
