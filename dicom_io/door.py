"""The door: how many associations may be active, in all and for each peer, and how often an address may ask for one."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable

from dicom_io.admission import Admission, Rejection, Request

LOG = logging.getLogger(__name__)
COMPLAINT_SECONDS = 60.0
"""How often the log is told again that there is no space."""
MAXIMUM_ADDRESSES = 4096
"""How many addresses are remembered for their rate; a flood from more forgets the oldest."""

HasSpace = Callable[[], bool]
"""Says whether instances can be kept at all just now."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoorSettings:
    """The limits."""

    maximum_associations: int = 64
    """Active at once, in all."""
    maximum_associations_per_peer: int = 16
    """Active at once, of one calling AE title; a peer's own limit goes before it."""
    associations_per_minute: int = 600
    """That one address may ask for; as many may come at once."""


class Door:
    """Counts who is in. Safe to call from many threads."""

    def __init__(self, settings: DoorSettings, has_space: HasSpace = lambda: True, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._has_space = has_space
        self._clock = clock
        self._lock = threading.Lock()
        self._active: collections.Counter[str] = collections.Counter()
        self._allowances: collections.OrderedDict[str, tuple[float, float, int]] = collections.OrderedDict()
        self._complained_at: float | None = None

    @property
    def active(self) -> int:
        """How many associations are active."""
        with self._lock:
            return self._active.total()

    def knock(self, address: str) -> int:
        """Count one request of an address, and return how many of its requests in a row were too many: 0 is welcome."""
        burst = float(self._settings.associations_per_minute)
        with self._lock:
            now = self._clock()
            left, since, refused = self._allowances.pop(address, (burst, now, 0))
            left = min(burst, left + (now - since) * burst / 60.0)
            refused = 0 if left >= 1.0 else refused + 1
            self._allowances[address] = (left if refused else left - 1.0, now, refused)
            if len(self._allowances) > MAXIMUM_ADDRESSES:
                self._allowances.popitem(last=False)
        return refused

    def enter(self, request: Request, admission: Admission) -> Rejection | None:
        """Let an admitted peer in, which must `leave` again, or say which limit is reached."""
        if not self._has_space():
            self._complain()
            return Rejection.NO_SPACE
        own = admission.maximum_associations
        limit = self._settings.maximum_associations_per_peer if own is None else own
        with self._lock:
            if self._active.total() >= self._settings.maximum_associations:
                return Rejection.LOCAL_LIMIT
            if self._active[request.calling_ae_title] >= limit:
                return Rejection.PEER_LIMIT
            self._active[request.calling_ae_title] += 1
        return None

    def _complain(self) -> None:
        """Tell the log that peers are turned away for want of space, now and then: they come again and again."""
        with self._lock:
            now = self._clock()
            if self._complained_at is not None and now - self._complained_at < COMPLAINT_SECONDS:
                return
            self._complained_at = now
        LOG.warning("associations are rejected: the disk is filled up to its reserve; free some space, or lower `spool.reserve_mib`")

    def leave(self, request: Request) -> None:
        """An association that was let in has ended."""
        with self._lock:
            self._active[request.calling_ae_title] -= 1
            self._active += collections.Counter()  # forget who has none
