"""Log lines for people and machines: one line an event with a stable `action`, never patient data.

The journal (or any reader of standard error) gets `LEVEL process action message`; values come as arguments, so a message
template never holds data. Patient names, ids and dates stay in the audit trail, which has its own file mode.
"""

from __future__ import annotations

import logging
import sys
import warnings

FORMAT = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"


def configure_logging(level: str, process: str) -> None:
    """Send log records of `level` and above to standard error, tagged with the process' role."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT.replace("%(processName)s", process)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These libraries quote attribute values, patient names among them, in their messages: they are kept out altogether.
    # What goes wrong with a data set is said by our own typed errors, which never quote such values.
    for quoting in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(quoting).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
