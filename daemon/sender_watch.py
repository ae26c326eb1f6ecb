"""Who is sending now: each association's beginning and end goes to the store, so that its pauses are not taken for its end."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable

from daemon.errors import Transient
from daemon.store import Store, WorkerIdentity
from dicom_io.association_log import AssociationEvent, AssociationEventKind

LOG = logging.getLogger("medsam2d.senders")
ENDS = frozenset({AssociationEventKind.RELEASED, AssociationEventKind.ABORTED})


def each_of(*observers: Callable[[AssociationEvent], None]) -> Callable[[AssociationEvent], None]:
    """Return an observer that tells all of these, in their order."""

    def observe(event: AssociationEvent) -> None:
        for observer in observers:
            observer(event)

    return observe


class SenderWatch:
    """Notes open associations in the store. Safe to call from many threads."""

    def __init__(self, store: Store, listener: WorkerIdentity) -> None:
        self._store, self._listener = store, listener
        self._lock = threading.Lock()
        # Associations of one peer are alike: whichever ends, one fewer is open.
        self._open: dict[tuple[str, str], list[str]] = defaultdict(list)

    def __call__(self, event: AssociationEvent) -> None:
        """Hear of an association. A store that cannot be written delays nobody: the quiet period still holds."""
        peer = (event.calling_ae_title, event.peer_address)
        try:
            if event.kind is AssociationEventKind.ASSOCIATED:
                name = self._store.association_opened(self._listener, *peer)
                with self._lock:
                    self._open[peer].append(name)
            elif event.kind in ENDS:
                with self._lock:
                    ended = self._open[peer].pop() if self._open[peer] else None
                if ended is not None:
                    self._store.association_closed(ended)
        except Transient as error:
            LOG.warning("an association of %s was not noted [%s] %s", event.calling_ae_title, error.code, error)
