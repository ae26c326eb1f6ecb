"""The association's boundary: a fault of ours in one instance is answered as a failure, and never ends an association or the listener."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from dicom_io.received import Deposit, Fragment, Intake, StoreCommand, StoreOutcome

LOG = logging.getLogger(__name__)

OnFault = Callable[[Exception], None]
"""Hears of a fault of ours, in the thread of the association."""


class GuardedIntake:
    """An intake that never raises: every exception of the inner one becomes CANNOT_UNDERSTAND, and is told to `on_fault`."""

    def __init__(self, inner: Intake, on_fault: OnFault) -> None:
        self._inner = inner
        self._on_fault = on_fault

    def begin(self, command: StoreCommand) -> GuardedDeposit:
        """Prepare for the data set of a C-STORE."""
        return GuardedDeposit(self._inner, command, self._on_fault)


class GuardedDeposit:
    """A deposit that survives the faults of the inner one: after the first it takes the rest of the data set and lets it go."""

    def __init__(self, intake: Intake, command: StoreCommand, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._inner: Deposit | None = None
        self._outcome: StoreOutcome | None = None
        self._guard(lambda: self._begin(intake, command))

    def write(self, fragment: Fragment) -> None:
        """Take the next bytes of the data set."""
        inner = self._inner
        if inner is not None:
            self._guard(lambda: inner.write(fragment))

    def keep(self) -> StoreOutcome:
        """Make the instance durable, and say how the C-STORE is answered."""
        inner, self._inner = self._inner, None
        if inner is not None:
            self._guard(lambda: self._keep(inner))
        return StoreOutcome.CANNOT_UNDERSTAND if self._outcome is None else self._outcome

    def drop(self) -> None:
        """Leave nothing behind."""
        inner, self._inner = self._inner, None
        if inner is not None:
            self._guard(inner.drop)

    def _begin(self, intake: Intake, command: StoreCommand) -> None:
        self._inner = intake.begin(command)

    def _keep(self, inner: Deposit) -> None:
        self._outcome = inner.keep()

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # the association's boundary: whatever failed, the peer keeps its instance
            # Only where it happened: an exception's own words may quote a patient's data.
            trace = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("a C-STORE could not be handled: %s\n%s", type(error).__name__, trace, extra={"action": "store_failed"})
            self._on_fault(error)
            self.drop()
