"""Retention: files go by age or when space runs short, and never before what they led to is delivered.

The row of an instance stays for ever, so that the ledger stays whole and a resend is still known. A file is removed first and
noted second: what a crash leaves between the two is removed again, and never forgotten.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from daemon.clock import Clock
from daemon.config import FolderSettings, RetentionSettings
from daemon.store import Store

LOG = logging.getLogger("medsam2d.retention")
BATCH = 500
MEBIBYTE = 2**20


def free_bytes(folder: Path) -> int:
    """Return how much the file system under a folder may still take."""
    return shutil.disk_usage(folder).free


@dataclass(kw_only=True)
class Retention:
    """Removes what may go; `sweep` is one pass, `due` says when the next one should be."""

    store: Store
    folders: FolderSettings
    settings: RetentionSettings
    clock: Clock
    free: Callable[[Path], int] = free_bytes
    next_at: datetime | None = field(default=None)

    def due(self) -> bool:
        """Tell whether a pass is due, and count it as begun."""
        now = self.clock()
        if self.next_at is not None and now < self.next_at:
            return False
        self.next_at = now + timedelta(seconds=self.settings.check_seconds)
        return True

    def sweep(self) -> int:
        """Remove up to `BATCH` inputs for each reason, and results, masks and pictures of enough age; return how many files went."""
        inputs = self._remove_inputs()
        results = self._remove_old(self.folders.results, "*.dcm", self.settings.results_days, keep=self.store.unsettled_results)
        masks = self._remove_old(self.folders.masks, "*.npz", self.settings.inputs_days, keep=lambda _paths: frozenset())
        pictures = self._remove_old(self.folders.pictures, "*", self.settings.inputs_days, keep=lambda _paths: frozenset())
        if inputs + results + masks + pictures:
            LOG.info("removed %d inputs, %d results, %d masks and %d pictures", inputs, results, masks, pictures)
        return inputs + results + masks + pictures

    def _remove_inputs(self) -> int:
        now = self.clock()
        old = self.store.removable_instances(now - timedelta(days=self.settings.inputs_days), BATCH)
        lacking = self.settings.free_mib * MEBIBYTE - self.free(self.folders.spool) if self.folders.spool.exists() else 0
        chosen = {instance.id: instance for instance in old}
        lacking -= sum(instance.bytes for instance in old)
        if lacking > 0:
            for instance in self.store.removable_instances(now, BATCH):
                if lacking <= 0:
                    break
                lacking -= 0 if instance.id in chosen else instance.bytes
                chosen[instance.id] = instance
        if not chosen:
            return 0
        for instance in chosen.values():
            instance.path.unlink(missing_ok=True)
        self.store.instances_removed(list(chosen))
        for folder in {instance.path.parent for instance in chosen.values()}:
            _remove_if_empty(folder)
        return len(chosen)

    def _remove_old(self, folder: Path, pattern: str, days: float, keep: Callable[[list[Path]], frozenset[Path]]) -> int:
        limit = (self.clock() - timedelta(days=days)).timestamp()
        old = list(_older_than(folder, pattern, limit))
        count = 0
        for start in range(0, len(old), BATCH):
            batch = old[start : start + BATCH]
            kept = keep(batch)
            for path in batch:
                if path not in kept:
                    path.unlink(missing_ok=True)
                    count += 1
        return count


def _older_than(folder: Path, pattern: str, limit: float) -> Iterator[Path]:
    for path in sorted(folder.glob(pattern)):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < limit:
                yield path


def _remove_if_empty(series_folder: Path) -> None:
    """Remove the folders of a series and its study where nothing is left in them."""
    for folder in (series_folder, series_folder.parent):
        try:
            folder.rmdir()
        except OSError:  # something lies in it, or came into it just now
            return
