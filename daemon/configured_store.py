"""The store that the configuration names: opened by the service, which brings it up to date, or beside it by a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.clock import system_clock
from daemon.config import Config
from daemon.store import Backoff, Store, StoreSettings, open_store


def store_of_service(settings: Config) -> Store:
    """Open the store, and bring it up to date. Raises what `open_store` raises."""
    return open_store(settings.store_url, system_clock, _waits(settings))


@contextmanager
def store_beside_service(settings: Config) -> Iterator[Store]:
    """The store for the length of a command. Raises StoreTooOld besides: an older service may run on it, so that only a start migrates."""
    store = open_store(settings.store_url, system_clock, _waits(settings), updates=False)
    try:
        yield store
    finally:
        store.close()


def _waits(settings: Config) -> StoreSettings:
    """A delivery's backoff is the configured one."""
    own = settings.delivery
    backoff = Backoff(minimum_seconds=own.retry_minimum_seconds, maximum_seconds=own.retry_maximum_seconds)
    return StoreSettings(delivery_backoff=backoff)
