"""One seeded episode: senders send, trouble comes, everything is mended, and the verdict is printed as JSON.

`tests.chaos.run` starts it in namespaces of its own: Orthanc listens on every interface, the small disk is a file system of its own, and
whatever an episode leaves running ends with it.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.clock import system_clock
from daemon.config import load_config
from daemon.job_states import JobState
from daemon.ledger import ledger
from daemon.store import Store, open_store
from tests.chaos.archives import Archive, orthanc_archive, storescp_archive
from tests.chaos.network import Proxy
from tests.chaos.senders import SLICES, Send, Sent, send_studies, send_with_dcmtk, send_with_ours
from tests.chaos.service import Service
from tests.chaos.trouble import Trouble
from tests.chaos.verdict import Evidence, sends, violations
from tests.e2e.harness import Site, free_port, make_site
from tests.e2e.studies import CT_BOX

RULES = CT_BOX.replace("    destinations:", f"    completeness: {{instances: {SLICES}, on_partial: hold}}\n    destinations:")
EXTRA = """\
worker: {device: cpu, threads: 1, attempts: 100}
spool: {reserve_mib: 16}
retention: {free_mib: 0}
"""
SMALL_DISK_MIB = 96
SETTLE_SECONDS = 240.0
END_SECONDS = 300.0
"""Trouble ends then, however few processes were killed."""
SENDERS: tuple[Send, ...] = (send_with_dcmtk, send_with_ours)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What an episode has beside kills, networks that break, freezes and damaged files."""

    name: str
    archive: Callable[[Site, int], Archive] = storescp_archive
    small_disk: bool = False
    archive_is_away: bool = False
    """From the first study until everything is mended."""
    long_freeze: bool = False


SCENARIOS = (
    Scenario(name="storescp"),
    Scenario(name="orthanc", archive=orthanc_archive),
    Scenario(name="full disk", small_disk=True),
    Scenario(name="archive away", archive_is_away=True),
    Scenario(name="frozen worker", long_freeze=True),
)
"""In turn, by seed."""


def main() -> None:
    """Run the episode that the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--store", help="SQLAlchemy URL; absent: SQLite in the state folder")
    options.add_argument("--kills", type=int, required=True)
    options.add_argument("--other-workers", type=int, default=0)
    given = options.parse_args()
    print(json.dumps(run(given.folder, given.seed, given.store, given.kills, given.other_workers)))  # noqa: T201


def run(folder: Path, seed: int, store: str | None, kills: int, other_workers: int) -> dict[str, object]:
    """Go through one episode in `folder`; return what was done, seen and found wanting."""
    began, draw, scenario = time.monotonic(), random.Random(seed), SCENARIOS[seed % len(SCENARIOS)]
    site = make_site(folder, RULES, quiet=0.5, extra=EXTRA + (f"store: {{url: {json.dumps(store)}}}\n" if store else ""))
    archive_port = free_port()
    to_listener, to_archive = Proxy(site.port), Proxy(archive_port)
    text = site.config.read_text().replace(f"port: {site.archive_port}", f"port: {to_archive.port}")
    site.config.write_text(text)
    if scenario.small_disk:
        (folder / "state").mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m", "tmpfs", str(folder / "state")], check=True)
    service = Service(site=site, draw=draw, other_workers=max(other_workers, int(scenario.long_freeze)))
    archive = scenario.archive(site, archive_port)
    trouble = Trouble(
        site=site,
        draw=draw,
        service=service,
        archive=archive,
        to_listener=to_listener,
        to_archive=to_archive,
        archive_is_up=not scenario.archive_is_away,
    )
    if trouble.archive_is_up:
        archive.start()
    service.start()
    sent, over = Sent(), threading.Event()
    senders = [
        threading.Thread(
            target=send_studies,
            args=(send, to_listener.port, folder / "studies", range(first, first + 10**4), sent, over, random.Random(first)),
            daemon=True,
        )
        for first, send in ((seed * 10**6 + number * 10**4, send) for number, send in enumerate(SENDERS))
    ]
    for sender in senders:
        sender.start()
    _make(trouble, kills, scenario, began)
    over.set()
    trouble.done.update({"senders reset": to_listener.burnt, "archive reset": to_archive.burnt})
    _mend(trouble)
    for sender in senders:
        sender.join(SETTLE_SECONDS)
    opened = open_store(load_config(site.config).store_url, system_clock)
    waiting = _settle(opened, sent)
    service.stop()
    evidence = Evidence(
        site=site,
        store=opened,
        sent=sent,
        held=archive.held(),
        interruptions=trouble.interruptions + sum(point.startswith("delivery.") for point in service.points_hit()),
        keeps_one=archive.commits,
        damaged=trouble.done["damage spool"],
    )
    found = violations(evidence)
    archive.stop()
    unsettled = [f"not settled: {waiting}"] if waiting else []
    unsettled += [f"the sender {sender.name} never ended" for sender in senders if sender.is_alive()]
    counts = sends(evidence)
    return {
        "seed": seed,
        "scenario": scenario.name,
        "store": "PostgreSQL" if store else "SQLite",
        "kills": _kills(trouble),
        "done": dict(sorted(trouble.done.items())),
        "points": service.points_hit(),
        "studies": len(sent.studies),
        "acknowledged": len(sent.acknowledged),
        "broken_exchanges": sent.refused,
        "results": len(counts),
        "sends": sum(counts.values()),
        "interruptions": evidence.interruptions,
        "seconds": round(time.monotonic() - began),
        "violations": [*unsettled, *found],
    }


def _make(trouble: Trouble, kills: int, scenario: Scenario, began: float) -> None:
    """Make trouble until enough processes were killed."""
    acts, weights = zip(*trouble.choices(small_disk=scenario.small_disk), strict=True)
    if scenario.long_freeze:
        time.sleep(2)
        trouble.freeze_past_the_lease()
    while _kills(trouble) < kills and time.monotonic() - began < END_SECONDS:
        time.sleep(trouble.draw.uniform(0.1, 0.8))
        trouble.draw.choices(acts, weights)[0]()
        trouble.service.keep_others()


def _kills(trouble: Trouble) -> int:
    """How many times a process was ended, at random or at a named point."""
    return sum(count for name, count in trouble.done.items() if name.startswith("kill")) + len(trouble.service.points_hit())


def _mend(trouble: Trouble) -> None:
    """Let everything run as it should, and put damaged files back."""
    trouble.service.stop()
    for mend in trouble.mends:
        mend()
    if not trouble.archive_is_up:
        trouble.archive.start()
    trouble.service.start(deadly=False)


def _settle(store: Store, sent: Sent) -> str:
    """Wait until there is nothing left to do; return what there still is when the time is up, nothing where it is done."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        jobs = [job for job in store.jobs() if job.state not in (JobState.DELIVERED, JobState.SUPERSEDED)]
        found = ledger(store)
        if not jobs and found.received >= len(sent.acknowledged) and found.waiting == 0:
            return ""
        if time.monotonic() > deadline:
            return f"{found}; " + "; ".join(f"job {job.id} {job.state.value} [{job.error_code}]" for job in jobs)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
