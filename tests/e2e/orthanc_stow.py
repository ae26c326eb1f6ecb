"""Objects to Orthanc by STOW-RS, in a network of its own that has no interface but loopback; prints what became of them.

Run as `unshare -rn sh -c "ip link set lo up && python -m tests.e2e.orthanc_stow FOLDER PLUGIN"`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dicom_io.sender import read_outgoing
from dicom_io.stow import StowServer, open_stow
from tests.component.loopback import write_instance
from tests.e2e.harness import free_port
from tests.e2e.orthanc import ask, orthanc


def main(folder: Path, plugin: Path) -> None:
    """Start Orthanc with its DICOMweb plugin, send, ask, print."""
    http = free_port()
    with orthanc(folder / "orthanc", http, {"Plugins": [str(plugin)], "DicomPort": free_port()}):
        items = [read_outgoing(write_instance(folder, number)) for number in (1, 2)]
        with open_stow(StowServer(name="web", url=f"http://127.0.0.1:{http}/dicom-web")) as session:
            echoed = session.echo()
            outcomes = [session.send(item).outcome.value for item in (*items, items[0])]
        found = {"echo": echoed, "outcomes": outcomes, "instances": len(ask(http, "/instances"))}
        sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
