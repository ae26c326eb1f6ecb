"""What can be wrong with a checkpoint, named by a stable code."""

from __future__ import annotations

from typing import Literal

CheckpointErrorCode = Literal["checkpoint-unreadable", "checkpoint-sha256", "checkpoint-format", "checkpoint-keys", "checkpoint-config"]


class CheckpointError(Exception):
    """A weights file that cannot be used; the message says what was expected, what was got, and the cure."""

    def __init__(self, code: CheckpointErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: CheckpointErrorCode = code
