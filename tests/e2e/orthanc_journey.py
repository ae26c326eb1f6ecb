"""A phantom study through the service to Orthanc with storage commitment, in a network of its own that has no interface but loopback.

The service is killed once at every point of the delivery, and is to end with one object in Orthanc, promised by it.

Run as `unshare -rn sh -c "ip link set lo up && python -m tests.e2e.orthanc_journey FOLDER"`; prints what Orthanc holds afterwards.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter
from pathlib import Path

from daemon.audit_chain import records
from daemon.chaos_points import KILL_AT, KILL_ONCE
from daemon.config import load_config
from tests.e2e.harness import Site, free_port, make_site, serving, storescu, wait_until
from tests.e2e.orthanc import ask, held_modalities, modality, orthanc
from tests.e2e.studies import CT_BOX, phantom_study

POINTS = (
    "delivery.claimed",
    "delivery.store-request-sent",
    "delivery.store-response-received",
    "delivery.stored-kept",
    "delivery.commitment-begun",
    "delivery.commitment-request-sent",
    "delivery.commitment-response-received",
    "delivery.commitment-report-received",
    "delivery.commitment-report-kept",
)
"""All at which the delivery of one object can be cut off; the last two end the listener, the others the delivery process."""


def main(folder: Path) -> None:
    """Send, wait, ask Orthanc, print."""
    site = make_site(folder / "site", CT_BOX, commitment="reverse")
    http = free_port()
    phantom_study(folder / "study")
    sender = {"sender": modality("MEDSAM2D", site.port)}
    with orthanc(folder / "orthanc", http, {"DicomAet": "ARCHIVE", "DicomPort": site.archive_port, "DicomModalities": sender}):
        sys.stdout.write(json.dumps(journey(site, folder, http)) + "\n")


def journey(site: Site, folder: Path, http: int) -> dict[str, object]:
    """What Orthanc holds, and what was killed and sent, after one study went through the service."""
    (folder / "killed").mkdir()
    with serving(site, **{KILL_AT: ",".join(POINTS), KILL_ONCE: str(folder / "killed")}):
        assert storescu(site, folder / "study").returncode == 0
        wait_until(lambda: site.status()["jobs"] == {"DELIVERED": 1}, "the delivery to Orthanc")
        jobs = site.status()["jobs"]
    instances = ask(http, "/instances")
    modalities = held_modalities(http)
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/instances/{modalities['SEG']}/preview", timeout=20) as answer:
        preview = answer.status
    trail = records(load_config(site.config).folders.audit)
    sent = Counter(str(record.details["sop_instance_uid"]) for record in trail if record.event == "delivery-begun")
    return {
        "modalities": sorted(modalities),
        "instances": len(instances),
        "preview": preview,
        "jobs": jobs,
        "killed": sorted(path.name for path in (folder / "killed").iterdir()),
        "sent": max(sent.values()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
