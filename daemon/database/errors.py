"""Why the store said no: typed reasons with a stable code."""

from __future__ import annotations

from typing import ClassVar

from daemon.errors import ConfigError, Transient


class StoreBusy(Transient):
    """Another process held the store's write lock for longer than we wait."""

    code = "store-busy"


class StoreFull(Transient):
    """The disk, quota or page limit under the store is exhausted; nothing was recorded."""

    code = "store-full"


class StoreUnavailable(Transient):
    """The store cannot be opened, read or written just now."""

    code = "store-unavailable"


class StoreTooNew(ConfigError):
    """A newer version of the software wrote the store; this one must not touch it."""

    code = "store-too-new"


class StoreTooOld(ConfigError):
    """An older version of the software wrote the store, and may still run on it: only the service brings it up to date."""

    code = "store-too-old"


class UnknownJob(Exception):
    """No job has this id."""

    code: ClassVar[str] = "unknown-job"


class UnknownInstance(Exception):
    """No quarantined instance has this id."""

    code: ClassVar[str] = "unknown-instance"


class InputsRemoved(Exception):
    """Retention has removed the files that a job would read."""

    code: ClassVar[str] = "inputs-removed"


class LeaseLost(Exception):
    """What we had claimed is no longer ours: it was freed, cancelled or taken over. Stop, and write nothing."""

    code: ClassVar[str] = "lease-lost"
