"""Whose studies are here, on a real database: each series is told once, and found again by its bucket alone."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select, update

from daemon.database.schema import INSTANCE
from daemon.store import Job
from tests.component.store_site import Site, claimed, instance, queued

OWN, OTHER = 7, 8


def received(site: Site, study: str, *, numbers: int = 2, first: int = 0) -> None:
    """Instances of the one series of a study."""
    for number in range(first, first + numbers):
        site.store.record_instance(replace(instance(number, site.clock(), series=f"{study}.1"), study_instance_uid=study))


def told(site: Site, bucket: int, limit: int = 100) -> list[str]:
    """Put every series that nobody has told yet into a bucket; return the names of the files that told."""
    series = site.store.untold_series(limit)
    site.store.put_in_buckets({one.instance_id: bucket for one in series})
    return sorted("removed" if one.path is None else one.path.stem for one in series)


def job(site: Site) -> Job:
    queued(site, series="1.2.3")
    return claimed(site)


def test_each_series_is_told_once_by_its_newest_instance(site: Site) -> None:
    received(site, "1.8")
    received(site, "1.9", numbers=3)
    assert told(site, OWN) == ["1.8.1.1", "1.9.1.2"]
    assert told(site, OWN) == []
    received(site, "1.9", first=3)  # more of a series that was told
    assert told(site, OWN) == []
    received(site, "1.10")
    assert told(site, OTHER) == ["1.10.1.1"]


def test_many_series_are_told_a_part_at_a_time(site: Site) -> None:
    for number in range(5):
        received(site, f"1.{number + 10}")
    assert [len(told(site, OWN, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_only_the_studies_of_the_bucket_are_found_and_never_the_jobs_own(site: Site) -> None:
    own = job(site)
    received(site, "1.8")
    told(site, OWN)
    received(site, "1.9")
    told(site, OTHER)
    found = site.store.other_studies(own, OWN)
    assert {study: [path.stem for path in paths] for study, paths in found.items()} == {"1.8": ["1.8.1.1"]}
    assert set(site.store.other_studies(own, OTHER)) == {"1.9"}
    assert site.store.other_studies(own, 9) == {}


def test_a_series_whose_telling_instance_was_corrected_is_told_anew(site: Site) -> None:
    own = job(site)
    received(site, "1.8")
    told(site, OWN)
    received(site, "1.8", numbers=1, first=2)
    with site.store.database.writing() as connection:  # as the merge of two patients leaves it: the newest stands for all others
        ids = connection.scalars(select(INSTANCE.c.id).where(INSTANCE.c.study_instance_uid == "1.8").order_by(INSTANCE.c.id)).all()
        connection.execute(update(INSTANCE).where(INSTANCE.c.id.in_(ids[:-1])).values(superseded_by=ids[-1]))
    assert site.store.other_studies(own, OWN) == {}
    assert told(site, OTHER) == ["1.8.1.2"]
    assert set(site.store.other_studies(own, OTHER)) == {"1.8"}


def test_what_was_removed_tells_nothing_and_is_found_no_more(site: Site) -> None:
    own = job(site)
    told(site, OWN)
    received(site, "1.8")
    received(site, "1.9")
    with site.store.database.reading() as connection:
        removed = connection.scalars(select(INSTANCE.c.id).where(INSTANCE.c.study_instance_uid == "1.8")).all()
    site.store.instances_removed(removed)
    assert told(site, OTHER) == ["1.9.1.1", "removed"]
    assert set(site.store.other_studies(own, OTHER)) == {"1.9"}


def test_a_series_of_quarantined_instances_alone_is_not_asked_for(site: Site) -> None:
    received(site, "1.8", numbers=1)
    with site.store.database.writing() as connection:
        connection.execute(update(INSTANCE).values(quarantined=True))
    assert told(site, OWN) == []
