"""The book of instances on a real database: idempotent, never overwriting, and complete after a crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from daemon.database.schema import INSTANCE
from daemon.ledger import ledger
from daemon.receiver import Receiver
from daemon.spool import Recording, Spool
from daemon.store import open_store
from dicom_io.received import StoreOutcome
from tests.component.loopback import received
from tests.component.store_site import START, Site, instance


def test_the_same_instance_is_new_once_and_a_duplicate_ever_after(site: Site) -> None:
    assert [site.store.record_instance(instance(1)) for _ in range(3)] == [Recording.NEW, Recording.DUPLICATE, Recording.DUPLICATE]
    assert ledger(site.store).received == 1
    site.store.record_instance(instance(2))
    with site.store.database.reading() as connection:
        repeats = connection.execute(select(INSTANCE.c.sop_instance_uid, INSTANCE.c.repeats).order_by(INSTANCE.c.id)).all()
    assert [tuple(row) for row in repeats] == [("1.2.3.1", 2), ("1.2.3.2", None)]


def test_other_bytes_under_a_taken_uid_are_kept_and_quarantined(site: Site) -> None:
    site.store.record_instance(instance(1))
    assert site.store.record_instance(instance(1, content="other")) is Recording.CONFLICT
    assert site.store.record_instance(instance(1, content="other")) is Recording.DUPLICATE
    (waiting,) = site.store.waiting_series()
    job = site.store.complete_series(waiting)
    assert job is not None
    assert site.store.instance_paths(job) == (instance(1).path,)
    assert ledger(site.store).quarantined == 1
    assert ledger(site.store).balanced


def test_a_conflict_does_not_open_a_complete_series_again(site: Site) -> None:
    site.store.record_instance(instance(1))
    site.store.complete_series(site.store.waiting_series()[0])
    site.store.record_instance(instance(1, content="other"))
    assert site.store.waiting_series() == ()


def test_a_series_uid_in_two_studies_is_two_series(site: Site) -> None:
    site.store.record_instance(instance(1))
    site.store.record_instance(replace(instance(2), study_instance_uid="1.9"))
    assert {series.study_instance_uid for series in site.store.waiting_series()} == {"1.2", "1.9"}


def test_what_was_recorded_is_there_after_the_store_is_opened_again(site: Site) -> None:
    site.store.record_instance(instance(1))
    site.store.close()
    again = open_store(site.url, site.clock)
    assert again.known(instance(1).path)
    assert again.waiting_series()[0].last_arrival == START
    again.close()


def test_reconciliation_records_exactly_the_files_without_a_row(site: Site) -> None:
    site.store.record_instance(instance(1))
    assert not site.store.known(instance(2).path)
    assert site.store.reconcile([instance(1), instance(2), instance(3)]) == 2
    assert site.store.reconcile([instance(1), instance(2), instance(3)]) == 0
    assert ledger(site.store).received == 3


@pytest.mark.parametrize("place", [-1, 130], ids=["its pixels", "its header"])
def test_a_file_that_was_damaged_sent_again_and_restored_leaves_one_file_and_a_row_that_names_it(
    site: Site, tmp_path: Path, place: int
) -> None:
    spool = Spool(tmp_path / "spool", 0, site.clock)
    receiver = Receiver(spool, site.store.record_instances)
    assert receiver.receive(received()) is StoreOutcome.SUCCESS
    (first,) = files_of(tmp_path)
    whole = first.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    first.write_bytes(damaged)
    assert receiver.receive(received()) is StoreOutcome.SUCCESS
    (second,) = set(files_of(tmp_path)) - {first}
    assert site.store.known(second)
    first.write_bytes(whole)
    receiver.receive(received())
    assert files_of(tmp_path) == [first]
    assert site.store.known(first)
    # The same where nobody sends again: the next start finds the file that has no row.
    second.write_bytes(whole)
    assert site.store.reconcile(spool.instances(site.store.known), receiver.take_in) == 0
    assert files_of(tmp_path) == [second]
    assert site.store.known(second)
    assert ledger(site.store).received == 1


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "spool" / "instances").rglob("*.dcm"))


def test_a_naive_time_is_refused_rather_than_guessed(site: Site) -> None:
    with pytest.raises(Exception, match="expected an aware datetime"):
        site.store.record_instance(instance(1, datetime(2026, 1, 1)))  # noqa: DTZ001  # the point of this test
    assert ledger(site.store).received == 0
