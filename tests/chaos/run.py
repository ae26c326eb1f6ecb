"""Chaos: seeded episodes of kills and other trouble, each followed by a verdict; runs accumulate by seed.

`python -m tests.chaos.run --seeds 1:20 [--store sqlite|postgresql] [--kills 30] [--record chaos.json]` prints a line an episode and a
table, and exits 1 where a promise was broken: the folder of that episode is kept, and the same seed draws the same trouble again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.component.postgresql_cluster import running_cluster, why_absent

EPISODE_SECONDS = 1200
COLUMNS = ("store", "seed", "scenario", "kills", "studies", "acknowledged", "results", "sends", "interruptions", "seconds", "violations")


def main() -> int:
    """Run the episodes that the command line asks for; return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", default="1:5", help="FIRST:LAST")
    options.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    options.add_argument("--kills", type=int, default=30, help="processes to end in each episode; a slow machine may end fewer in its time")
    options.add_argument("--record", type=Path, help="JSON file of the episodes so far, which is added to")
    given = options.parse_args()
    first, _, last = given.seeds.partition(":")
    found: list[dict[str, Any]] = []
    with _stores(given.store) as new_store:
        for seed in range(int(first), int(last or first) + 1):
            found.append(episode(seed, given.kills, next(new_store)))
            print(_line(found[-1]), flush=True)  # noqa: T201
            if given.record:
                found_so_far = _keep(given.record, found[-1])
    print(table(found_so_far if given.record else found))  # noqa: T201
    return int(any(one["violations"] for one in found))


def episode(seed: int, kills: int, store: str | None = None) -> dict[str, Any]:
    """Run one episode in namespaces of its own and return what it found; its folder stays where a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"medsam2d-chaos-{seed}-"))
    command = [sys.executable, "-m", "tests.chaos.episode", str(folder / "site"), "--seed", str(seed), "--kills", str(kills)]
    if store is not None:
        command += ["--store", store, "--other-workers", "1"]
    inside = 'ip link set lo up && exec "$@"'
    namespaces = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-nmpf", "--kill-child", "--mount-proc", "sh", "-c", inside, "sh"]
    done = subprocess.run([*namespaces, *command], capture_output=True, text=True, timeout=EPISODE_SECONDS, check=False)
    if done.returncode != 0:
        return _failed(seed, folder, f"the episode ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["violations"]:
        found["folder"] = str(folder)
    else:
        shutil.rmtree(folder)
    return found


def why_impossible() -> str | None:
    """Why no episode can run here, None if one can."""
    missing = [tool for tool in ("storescu", "storescp", "Orthanc", "unshare", "ip", "mount") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install dcmtk orthanc)"
    namespaces = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-nmpf", "--mount-proc", "true"]
    if subprocess.run(namespaces, capture_output=True, check=False).returncode != 0:
        return "this kernel does not let users make namespaces of their own (sysctl kernel.unprivileged_userns_clone)"
    return None


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """A row an episode, and the sums."""
    rows = [[str(len(one[name]) if name == "violations" else one[name]) for name in COLUMNS] for one in found]
    sums = [sum(int(row[index]) for row in rows) for index in range(3, len(COLUMNS))]
    rows = [list(COLUMNS), *rows, ["all", str(len(found)), "", *map(str, sums)]]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    return "\n".join("  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows)


@contextmanager
def _stores(kind: str) -> Iterator[Iterator[str | None]]:
    """A new database for each episode; None stands for SQLite in the state folder."""
    if kind == "sqlite":
        yield iter(lambda: None, 0)
        return
    absent = why_absent()
    if absent:
        sys.exit(absent)
    with running_cluster() as cluster:
        yield iter(cluster.new_database, "")


def _line(found: Mapping[str, Any]) -> str:
    broken = "".join(f"\n    BROKEN {violation}" for violation in found["violations"])
    place = f"\n    see {found['folder']}" if "folder" in found else ""
    return f"seed {found['seed']} {found['store']} {found['scenario']}: {found['kills']} kills, {found['done']}{broken}{place}"


def _failed(seed: int, folder: Path, why: str) -> dict[str, Any]:
    nothing = dict.fromkeys(COLUMNS, 0)
    return {**nothing, "seed": seed, "store": "", "scenario": "", "done": {}, "points": [], "violations": [why], "folder": str(folder)}


def _keep(record: Path, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add an episode to the record, in place of an earlier one of the same seed and store; return all of them."""
    past: list[dict[str, Any]] = json.loads(record.read_text()) if record.exists() else []
    kept = [one for one in past if (one["seed"], one["store"]) != (found["seed"], found["store"])]
    everything = [*kept, dict(found)]
    record.write_text(json.dumps(everything, indent=1) + "\n")
    return everything


if __name__ == "__main__":
    sys.exit(main())
