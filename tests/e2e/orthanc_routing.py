"""The node sheet followed to the letter: Orthanc with its lines routes a study to the service, set up with its lines, and gets the results.

Run as `unshare -rn sh -c "ip link set lo up && python -m tests.e2e.orthanc_routing FOLDER"`; prints what Orthanc holds afterwards.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from daemon.audit_chain import records
from daemon.config import load_config
from tests.e2e.harness import Site, free_port, run, serving, wait_until
from tests.e2e.orthanc import ask, orthanc
from tests.e2e.studies import CT_BOX, phantom_study

SHEET = (Path(__file__).resolve().parents[2] / "docs" / "dicom_node.md").read_text(encoding="utf-8")
OURS, ARCHIVE = 11112, 4242
"""The ports of the sheet; in a network of its own nobody else has them."""
HERE = """
folders:
  state: {state}
arrivals:
  quiet_seconds: 1
rules:
  paths: [{rules}]
"""


def block(language: str) -> str:
    """The sheet's one block of a language, with every example address on loopback."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", SHEET, re.MULTILINE | re.DOTALL)
    return re.sub(r"192\.0\.2\.\d+", "127.0.0.1", found)


def main(folder: Path) -> None:
    """Set both up, send to Orthanc, wait, print."""
    (folder / "rules.yaml").write_text(CT_BOX.replace("archive", "pacs"))
    site = Site(folder=folder, config=folder / "config.yaml", port=OURS, archive_port=ARCHIVE, archive=folder)
    site.config.write_text(block("yaml") + HERE.format(state=folder / "state", rules=folder / "rules.yaml"))
    (folder / "route.lua").write_text(block("lua"))
    phantom_study(folder / "study")
    settings = {**json.loads(block("json")), "LuaScripts": [str(folder / "route.lua")], "StableAge": 1}
    http = free_port()
    with orthanc(folder / "orthanc", http, settings), serving(site):
        echo = run(next(line for line in block("sh").splitlines() if line.startswith("echoscu")).split("#")[0].split(), check=False)
        run(["storescu", "-aet", "CT1", "-aec", settings["DicomAet"], "+sd", "127.0.0.1", str(ARCHIVE), str(folder / "study")])
        wait_until(lambda: site.status()["jobs"] == {"DELIVERED": 1}, "Orthanc to have routed the study, and to keep its results", 90)
        series = ask(http, "/series?expand")
        trail = records(load_config(site.config).folders.audit)
        promised = [one.details["committed"] for one in trail if one.event == "commitment-reported"]
        sys.stdout.write(
            json.dumps(
                {
                    "echo": echo.returncode,
                    "jobs": site.status()["jobs"],
                    "modalities": sorted(one["MainDicomTags"]["Modality"] for one in series),
                    "studies": len({one["ParentStudy"] for one in series}),
                    "committed": [len(uids) for uids in promised if isinstance(uids, list)],
                }
            )
            + "\n"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
