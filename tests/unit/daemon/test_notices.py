"""What a channel is told: every change between what it knows and what is so, as the table says."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from daemon.notifications.channels import ChannelFailed, Message
from daemon.notifications.conditions import WORDS, Condition, Kind, cure_of, spoken, spoken_end
from daemon.notifications.desk import NoticeDesk, read_memory
from daemon.notifications.told import NEWS, Change, News, Told, compare, notices_of
from tests.component.store_site import START, FakeClock

DAY = timedelta(hours=24)
JOBS = (Kind.JOB_QUARANTINED.value, "")


def put_aside(count: int) -> Condition:
    return Condition(kind=Kind.JOB_QUARANTINED, since=START, count=count)


def full(measure: str = "4.0 % free") -> Condition:
    return Condition(kind=Kind.DISK_LOW, subject="spool", since=START, measure=measure)


def known(count: int, hours: float = 0.0) -> Told:
    return Told(since=START, count=count, at=START - timedelta(hours=hours))


TABLE = [
    ("never told of it", None, put_aside(2), Change.NEW),
    ("as it was", known(2, 1), put_aside(2), Change.SAME),
    ("as it was, told a day ago", known(2, 24), put_aside(2), Change.OVERDUE),
    ("there is more", known(2, 1), put_aside(3), Change.MORE),
    ("more, told a day ago", known(2, 24), put_aside(3), Change.MORE),
    ("there is less", known(2, 1), put_aside(1), Change.LESS),
    ("it is over", known(2, 1), None, Change.GONE),
    ("it is over, told a day ago", known(2, 24), None, Change.GONE),
    ("a kind that does not grow", known(1, 1), Condition(kind=Kind.PROCESS_DIES, subject="worker", since=START, count=9), Change.SAME),
]


@pytest.mark.parametrize(("words", "before", "found", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_what_is_known_and_what_is_so_give_one_change(words: str, before: Told | None, found: Condition | None, expected: Change) -> None:
    assert compare(before, found, START, DAY) is expected


def test_every_change_says_what_is_told_and_every_kind_has_its_words() -> None:
    assert set(NEWS) == set(Change)
    assert {NEWS[change] for change in (Change.SAME, Change.LESS)} == {None}
    assert set(WORDS) == set(Kind)
    for kind in Kind:
        said = Condition(kind=kind, subject="SUBJECT", since=START, count=7, measure="MEASURE")
        texts = (spoken(said), spoken_end(said.key), cure_of(said.key))
        assert all(texts)
        assert not any("{" in text for text in texts)


def test_what_is_new_is_told_before_what_is_over() -> None:
    memory = {("disk-low", "spool"): known(1)}
    notices = notices_of(memory, (put_aside(1),), START, DAY)
    assert [(notice.news, notice.text) for notice in notices] == [
        (News.RAISED, "1 job(s) are put aside and wait for a person"),
        (News.CLEARED, "the disk of spool has room again"),
    ]


@dataclass
class FakeChannel:
    """Takes messages, or fails as often as it is told."""

    failures: int = 0
    taken: list[Message] = field(default_factory=list)
    tries: int = 0

    def send(self, message: Message) -> None:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise ChannelFailed("chat: expected an HTTP status of 2xx, got 500")
        self.taken.append(message)

    def texts(self) -> list[list[str]]:
        return [[f"{notice.news.value}: {notice.text}" for notice in message.notices] for message in self.taken]


def desk(channel: FakeChannel, clock: FakeClock, folder: Path, pause: float = 0.0) -> NoticeDesk:
    pauses = timedelta(seconds=pause)
    return NoticeDesk(
        name="chat", channel=channel, source="here", memory_file=folder / "chat.json", clock=clock, repeat=DAY, pause=pauses
    )  # fmt: skip


def test_a_condition_is_told_when_it_begins_again_after_a_day_and_when_it_ends(tmp_path: Path) -> None:
    clock, channel = FakeClock(), FakeChannel()
    own = desk(channel, clock, tmp_path)
    for hours in range(26):
        clock.now = START + timedelta(hours=hours)
        own.tell((full(f"{9 - hours / 4:.1f} % free"),))
    own.tell(())
    own.tell(())
    assert channel.texts() == [
        ["raised: the disk of spool fills: 9.0 % free"],
        ["repeated: the disk of spool fills: 3.0 % free"],
        ["cleared: the disk of spool has room again"],
    ]


def test_growth_is_told_from_where_the_count_had_sunk_to(tmp_path: Path) -> None:
    clock, channel = FakeClock(), FakeChannel()
    own = desk(channel, clock, tmp_path)
    for count in (5, 3, 4):
        own.tell((put_aside(count),))
    assert [len(said) for said in channel.texts()] == [1, 1]
    assert "4 job(s)" in channel.texts()[1][0]


def test_what_happens_within_the_pause_comes_in_one_message(tmp_path: Path) -> None:
    clock, channel = FakeClock(), FakeChannel()
    own = desk(channel, clock, tmp_path, pause=300)
    assert own.tell((full(),))
    for seconds in range(0, 299, 10):
        clock.now = START + timedelta(seconds=seconds)
        assert not own.tell((full(), put_aside(seconds + 1)))
    clock.now = START + timedelta(seconds=300)
    assert own.tell((put_aside(8),))
    assert channel.texts()[1] == ["raised: 8 job(s) are put aside and wait for a person", "cleared: the disk of spool has room again"]


def test_a_channel_that_fails_is_tried_ever_less_often_logged_once_and_told_what_is_so_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, channel = FakeClock(), FakeChannel(failures=5)
    own = desk(channel, clock, tmp_path)
    caplog.set_level(logging.INFO)
    minutes = 0
    while not channel.taken:
        own.tell((full(), put_aside(1)) if minutes < 3 else (put_aside(2),))
        minutes += 1
        clock.forward(60)
    assert channel.tries == 6
    assert minutes > 6, "it waits longer and longer"
    assert channel.texts() == [["raised: 2 job(s) are put aside and wait for a person"]], "the full disk has come and gone"
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "2 notice(s) wait" in warnings[0].getMessage()
    assert "takes messages again" in caplog.text


def test_a_restart_tells_nothing_twice_and_forgets_no_end(tmp_path: Path) -> None:
    clock, channel = FakeClock(), FakeChannel()
    desk(channel, clock, tmp_path).tell((full(),))
    after = desk(channel, clock, tmp_path)
    assert not after.tell((full(),))
    assert after.tell(())
    assert channel.texts()[-1] == ["cleared: the disk of spool has room again"]
    assert read_memory(tmp_path / "chat.json") == {}


@pytest.mark.parametrize("content", ["", "{}x", '[{"kind": "unknown-kind"}]', '[{"kind": "disk-low"}]'])
def test_a_memory_that_cannot_be_used_is_begun_anew(content: str, tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(content)
    channel = FakeChannel()
    assert desk(channel, FakeClock(), tmp_path).tell((full(),))
    assert set(read_memory(tmp_path / "chat.json")) == {("disk-low", "spool")}
