"""SimpleITK, loaded when it is first needed: processes that only match rules (the listener) go without its tens of megabytes."""

from __future__ import annotations

import importlib
from typing import Any


class _Late:
    """The module's functions, which are generated and carry no types."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("SimpleITK"), name)


sitk: Any = _Late()
