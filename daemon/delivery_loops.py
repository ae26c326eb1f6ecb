"""The delivery process: one loop a destination, so that one which is slow or down delays no other."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from daemon.child import Life
from daemon.delivery import Desk, deliver_due
from daemon.errors import Transient
from daemon.route import Route
from daemon.store import LeaseLost

LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class DeliveryLoops:
    """Runs a thread for every destination until told to stop."""

    routes: Mapping[str, Route]
    desk: Desk
    life: Life
    pause_seconds: float
    deliver: Callable[[str, Route, Desk], int] = deliver_due
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start every loop."""
        for name, route in self.routes.items():
            thread = threading.Thread(target=self._loop, args=(name, route), name=f"delivery-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def alive(self) -> bool:
        """Whether every loop runs. One that waits for a silent peer does: its time-outs end that wait."""
        return all(thread.is_alive() for thread in self._threads)

    def postpone_strangers(self) -> None:
        """Say of what waits for a destination that the configuration does not know why it waits."""
        known = ", ".join(self.routes) or "none"
        for name in self.desk.store.due_destinations():
            if name not in self.routes:
                message = f"destination {name!r}: results wait for it, but the configuration knows only {known}; add it again or cancel"
                for delivery in self.desk.store.claim_deliveries(self.desk.worker, name):
                    try:
                        self.desk.store.postpone(delivery, "unknown-destination", message)
                    except LeaseLost as error:
                        LOG.warning("%s", error)

    def join(self, seconds: float) -> None:
        """Wait for the loops to end after a stop; what one had claimed is freed when its process is gone."""
        for thread in self._threads:
            thread.join(seconds / max(1, len(self._threads)))

    def _loop(self, name: str, route: Route) -> None:
        while not self.life.stop.is_set():
            busy = False
            try:
                busy = self.deliver(name, route, self.desk) > 0
            except Transient as error:
                LOG.warning("%s: will be tried again [%s] %s", name, error.code, error)
            except Exception as error:  # noqa: BLE001  # the delivery loop's boundary: a fault of ours ends no destination's loop
                # Only where it happened: an exception's own words may quote a patient's data.
                LOG.error("%s: a fault of ours: %s\n%s", name, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            if not busy:
                self.life.stop.wait(self.pause_seconds)
