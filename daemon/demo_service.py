"""The demonstration's daemon: its configuration and rules, and `medsam2d serve` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from daemon.errors import Transient

DEMO_AE_TITLE = "MEDSAM2D"
SENDER_AE_TITLE = "PHANTOM"
ARCHIVE_AE_TITLE = "ARCHIVE"
START_LIMIT_SECONDS = 120.0

LABELS: Mapping[str, tuple[str, str]] = {
    "liver": ("Liver", "10200004"),
    "kidney": ("Kidney", "64033007"),
    "spleen": ("Spleen", "78961009"),
}
"""Phantom organ -> segment label and SNOMED CT code."""

CONFIGURATION = """\
# Made by `medsam2d demo`.
ae_title: {ae_title}
listener:
  host: 127.0.0.1
  port: {port}
  peers:
    - ae_title: {sender}
folders:
  state: {state}
arrivals:
  quiet_seconds: 1
rules:
  paths: [{rules}]
destinations:
  archive:
    host: 127.0.0.1
    port: {archive_port}
    ae_title: {archive}
"""

RULE = """\
# Made by `medsam2d demo`: one box on one slice for each target.
rules:
  - name: phantom-organs
    description: Each organ from one box, drawn on the slice where it is largest
    match:
      all:
        - Modality: CT
        - calling_ae_title: {sender}
    destinations: [archive]
    targets:
"""

TARGET = """\
      - label: {label}
        category: AnatomicalStructure
        type: {{value: "{code}", scheme: SCT, meaning: {label}}}
        window: {{low: {low:g}, high: {high:g}}}
        prompt: {{kind: box, unit: pixel, frame: {frame}, left: {left}, top: {top}, right: {right}, bottom: {bottom}}}
"""


def write_settings(folder: Path, masks: Mapping[str, NDArray[np.bool_]], frames: Mapping[str, int], ports: tuple[int, int]) -> Path:
    """Write the demo's rules and configuration; return the configuration's path.

    `masks` (k, j, i) give each target's prompt box on its slice `frames[name]`; `ports` are the daemon's and the archive's.
    """
    rules = folder / "rules.yaml"
    low, high = WINDOW_LOW_HIGH_HU
    targets = []
    for name, mask in masks.items():
        rows, columns = np.nonzero(mask[frames[name]])
        label, code = LABELS[name]
        box = {"left": columns.min(), "right": columns.max(), "top": rows.min(), "bottom": rows.max()}
        targets.append(TARGET.format(label=label, code=code, low=low, high=high, frame=frames[name], **box))
    rules.write_text(RULE.format(sender=SENDER_AE_TITLE) + "".join(targets))
    config = folder / "config.yaml"
    config.write_text(
        CONFIGURATION.format(
            ae_title=DEMO_AE_TITLE,
            port=ports[0],
            sender=SENDER_AE_TITLE,
            state=json.dumps(str(folder / "state")),
            rules=json.dumps(str(rules)),
            archive=ARCHIVE_AE_TITLE,
            archive_port=ports[1],
        )
    )
    return config


WINDOW_LOW_HIGH_HU = (-160.0, 240.0)
"""The abdominal soft-tissue window (centre 40, width 400)."""


@dataclass(kw_only=True)
class Service:
    """`medsam2d serve` in a process of its own; leaving the `with` block stops it."""

    config: Path
    log: Path
    ready: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[str] | None = None
    _log_stream: IO[str] | None = None

    def __enter__(self) -> Service:
        """Start the service; its log goes to a file."""
        self._log_stream = self.log.open("w")
        command = [sys.executable, "-m", "daemon.cli", "serve", "--config", str(self.config)]
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log_stream, text=True, encoding="utf-8", env=environment
        )
        threading.Thread(target=self._watch, args=(self._process.stdout,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the service and wait for it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(90)
            if self._process.stdout is not None:
                self._process.stdout.close()
        if self._log_stream is not None:
            self._log_stream.close()

    def wait_for(self, event: threading.Event, limit_seconds: float, what: str) -> None:
        """Wait until `event`; raise `Transient` with the end of the log if the service ends or the time is up first."""
        deadline = time.monotonic() + limit_seconds
        while not event.wait(0.2):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text().splitlines()[-12:])
                raise Transient(f"the daemon {'ended' if ended else 'took too long'} before {what}; its log says:\n{tail}")

    def wait_until_ready(self) -> None:
        """Wait until the service has said that its port listens."""
        self.wait_for(self.ready, START_LIMIT_SECONDS, "it was ready")

    def _watch(self, voice: IO[str] | None) -> None:
        for line in voice or ():
            if line.startswith("ready"):
                self.ready.set()
