"""What can be wrong with a checkpoint, named by a stable code, and what can become of a device."""

from __future__ import annotations

from typing import ClassVar, Literal

CheckpointErrorCode = Literal["checkpoint-unreadable", "checkpoint-sha256", "checkpoint-format", "checkpoint-keys", "checkpoint-config"]


class CheckpointError(Exception):
    """A weights file that cannot be used; the message says what was expected, what was got, and the cure."""

    def __init__(self, code: CheckpointErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: CheckpointErrorCode = code


class DeviceFault(Exception):
    """The accelerator failed in the middle of a step; nothing else can run on it in this process."""

    code: ClassVar[str] = "device-fault"
