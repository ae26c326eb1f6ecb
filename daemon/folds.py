"""Cross-validation folds: which cases of a folder are kept aside, by the first number in their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Fold:
    """The part `index` (from 0) of `count` parts; over all of them every numbered case is kept aside exactly once.

    A case belongs to part (first number in its name) mod `count`, so that `STS_003_CT` and `STS_003_PET`, one patient in two families, stay
    on one side. A case without a number is trained on in every part and never measured, as nothing tells whose it is.
    """

    index: int
    count: int

    def split_of(self, case: str) -> str:
        """`val` for a case that this part keeps aside, else `train`."""
        number = re.search(r"\d+", case)
        return "val" if number is not None and int(number[0]) % self.count == self.index else "train"

    def __str__(self) -> str:
        """As the command line takes it."""
        return f"{self.index}/{self.count}"


def parse_fold(text: str) -> Fold:
    """Read `INDEX/COUNT`, such as 0/3. Raises `ConfigError`."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(count) > 1 and int(index) < int(count)):
        raise ConfigError(f"--fold {text}: expected INDEX/COUNT with 0 <= INDEX < COUNT and COUNT of at least 2, such as 0/3")
    return Fold(index=int(index), count=int(count))
