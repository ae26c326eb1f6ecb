"""Damaged files under hostile names in the inbox, over a real spool: each is kept, put aside with its reason, or waits."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.inbox import REJECTED, Inbox
from daemon.receiver import Receiver
from daemon.spool import Recording, Spool, SpooledInstance
from tests.component.store_site import FakeClock
from tests.fuzz.byte_faults import Dice
from tests.fuzz.element_faults import damaged
from tests.fuzz.guard import expect_discreet
from tests.fuzz.series_files import ct_series, trees
from tests.fuzz.surface import Surface, Try

NAMES = (
    "1.dcm", "a b", "-rf", "..dcm", "é.dcm", "a\nb", "\u202ex.dcm", "x" * 200, "DICOMDIR", "dicomdir", ".hidden", "a.part", "rejected",
    "rejected/x.dcm", "a.reason.txt", "sub/deep/er/x.dcm", "CON", "%2e%2e", "$(id)", "a;b", "~x", "\\..\\x", "*", "\x1b[31m",
)  # fmt: skip
_SPOOLED = re.compile(r"instances/[0-9.]+/[0-9.]+/[0-9.]+\.dcm")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Try]:
    whole = trees(ct_series(folder / "made"))
    inbox_folder, spool_folder = folder / "inbox", folder / "spool"
    seconds = [0.0]

    def attempt(dice: Dice) -> str:
        # A spool of its own for each input: what it holds is what this input led to.
        inbox_folder.mkdir()
        receiver = Receiver(Spool(spool_folder, 0, FakeClock()), _record)
        inbox = Inbox(
            folder=inbox_folder,
            quiet_seconds=5,
            calling_ae_title="INBOX",
            called_ae_title="MEDSAM2D",
            receive=receiver.receive,
            now=lambda: seconds[0],
        )
        path = inbox_folder / dice.choice(NAMES)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged(dice, dice.choice(whole), whole))
        try:
            inbox.look()
            seconds[0] += 10.0
            inbox.look()
            return _end(path, inbox_folder, spool_folder)
        finally:
            shutil.rmtree(inbox_folder)
            shutil.rmtree(spool_folder, ignore_errors=True)

    yield attempt


def _record(instances: Sequence[SpooledInstance]) -> Sequence[Recording]:
    return [Recording.NEW for _ in instances]


def _end(path: Path, inbox_folder: Path, spool_folder: Path) -> str:
    kept = [found for found in spool_folder.rglob("*") if found.is_file()]
    names = [str(found.relative_to(spool_folder)) for found in kept]
    assert len(kept) <= 1, names
    assert all(_SPOOLED.fullmatch(name) for name in names), names
    if path.exists():
        assert not kept
        return "waits"
    aside = inbox_folder / REJECTED / path.relative_to(inbox_folder)
    reasons = [reason for reason in (aside.with_name(f"{aside.name}.reason.txt"),) if reason.exists()]
    assert len(kept) + len(reasons) == 1, (os.listdir(inbox_folder), names)  # noqa: PTH208
    if reasons:
        words = reasons[0].read_text(encoding="utf-8")
        assert "a fault of this software" not in words, words
        expect_discreet(words.replace(str(path), ""))
        return "rejected"
    return "kept"


SURFACE = Surface(name="inbox", opened=_opened)
