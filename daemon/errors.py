"""What becomes of an error: two questions decide, whose fault is it and does a retry help?

| fault     | meaning                                  | what follows                                             |
|-----------|------------------------------------------|----------------------------------------------------------|
| DATA      | the instances can never be processed     | the job is REFUSED with the reason; no retry             |
| CONFIG    | a setting, rule or weights file is wrong | refuse to start; a running job waits for the cure        |
| TRANSIENT | peer, disk or memory                     | retry with backoff, not counted against the job          |
| BUG       | anything else                            | the attempt FAILS with its traceback; the worker goes on |

Every leaf class has a stable `code`, used in audit records, by the command line and on the troubleshooting page.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from dicom_io.errors import DicomError, PeerError, PortUnavailable, RejectedInput, UnusableCertificate
from model.errors import CheckpointError
from rules.errors import ConfigFaults, InvalidAtlas


class Fault(enum.Enum):
    """Whose fault an error is; the table in this file's docstring says what follows."""

    DATA = "data"
    CONFIG = "config"
    TRANSIENT = "transient"
    BUG = "bug"


class ConfigError(Exception):
    """A setting, a rule or a weights file is wrong: the message names it and the cure."""

    code: ClassVar[str] = "config-error"


class UnknownWeights(ConfigError):
    """A weights name that the configuration does not map to a file."""

    code = "unknown-weights"


class UntrustedWeights(ConfigError):
    """A weights file whose hash is not the recorded one, or that nobody vouched for."""

    code = "untrusted-weights"


class Transient(Exception):
    """A peer, disk or memory failure that a later retry may cure."""

    code: ClassVar[str] = "transient"


@dataclass(frozen=True, kw_only=True)
class Disposition:
    """An error, judged: `code` is stable, `message` is for people and names cause and cure."""

    fault: Fault
    code: str
    message: str


FAULT_OF: tuple[tuple[type[Exception], Fault], ...] = (
    (RejectedInput, Fault.DATA),
    (PeerError, Fault.TRANSIENT),
    (ConfigError, Fault.CONFIG),
    (ConfigFaults, Fault.CONFIG),
    (InvalidAtlas, Fault.DATA),
    (CheckpointError, Fault.CONFIG),
    (PortUnavailable, Fault.CONFIG),
    (UnusableCertificate, Fault.CONFIG),
    (Transient, Fault.TRANSIENT),
    (MemoryError, Fault.TRANSIENT),
    (OSError, Fault.TRANSIENT),
    (DicomError, Fault.BUG),
)


FORESEEN: tuple[type[Exception], ...] = tuple(kind for kind, _ in FAULT_OF)
"""What a command may end with in one message; anything else is a bug and keeps its traceback."""


def classify(error: BaseException) -> Disposition:
    """Judge an error by the first row of `FAULT_OF` whose type it has; what no row names is a bug."""
    fault = next((fault for kind, fault in FAULT_OF if isinstance(error, kind)), Fault.BUG)
    code = getattr(error, "code", None)
    # Only our own classes have a stable code; others (OSError, KeyError) are told by the name of their type.
    return Disposition(fault=fault, code=code if isinstance(code, str) else f"{fault.value}-{type(error).__name__}", message=str(error))
