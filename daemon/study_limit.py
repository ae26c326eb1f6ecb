"""The largest study that is taken: what is already there is asked of the store once, and counted from then on."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

from daemon.draft import FinishedDraft, InstanceTooLarge

REMEMBERED_STUDIES = 1024

Recorded = Callable[[str], int]
"""How many bytes of a study were recorded; `InstanceBook.study_bytes`."""


class StudyLimit:
    """Safe to call from many threads; several processes that receive the same study may pass the limit by what they took at once."""

    def __init__(self, maximum_bytes: int, recorded: Recorded) -> None:
        self._maximum_bytes = maximum_bytes
        self._recorded = recorded
        self._lock = threading.Lock()
        self._bytes: collections.OrderedDict[str, int] = collections.OrderedDict()

    def __call__(self, finished: FinishedDraft) -> None:
        """Count a new instance; raises InstanceTooLarge where its study would be larger than the limit."""
        study = finished.identity.study_instance_uid
        with self._lock:
            known = self._bytes.pop(study, None)
            if known is None or known + finished.bytes > self._maximum_bytes:
                known = self._recorded(study)  # exact: what was counted and then not kept is forgotten
            is_taken = known + finished.bytes <= self._maximum_bytes
            self._bytes[study] = known + finished.bytes * is_taken
            if len(self._bytes) > REMEMBERED_STUDIES:
                self._bytes.popitem(last=False)
        if not is_taken:
            raise InstanceTooLarge(
                f"study: expected at most {self._maximum_bytes} bytes, got {known} and {finished.bytes} more;"
                " raise `spool.maximum_study_mib` or send a smaller study"
            )
