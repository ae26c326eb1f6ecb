"""Objects to Orthanc by STOW-RS, in a network of its own that has no interface but loopback; prints what became of them.

Run as `unshare -rn sh -c "ip link set lo up && python -m tests.e2e.orthanc_stow FOLDER PLUGIN"`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dicom_io.sender import read_outgoing
from dicom_io.stow import StowServer, open_stow
from tests.component.loopback import write_instance
from tests.e2e.harness import free_port, wait_until
from tests.e2e.orthanc_journey import ask


def main(folder: Path, plugin: Path) -> None:
    """Start Orthanc with its DICOMweb plugin, send, ask, print."""
    http = free_port()
    settings = folder / "orthanc.json"
    own = {"StorageDirectory": str(folder / "orthanc"), "IndexDirectory": str(folder / "orthanc")}
    ports = {"DicomPort": free_port(), "HttpPort": http, "AuthenticationEnabled": False, "RemoteAccessAllowed": False}
    settings.write_text(json.dumps({"Name": "Web", "Plugins": [str(plugin)], **own, **ports}))
    with (folder / "orthanc.log").open("w") as log:
        orthanc = subprocess.Popen(["Orthanc", str(settings)], stdout=log, stderr=log)
        try:
            wait_until(lambda: ask(http, "/system") is not None, "Orthanc to answer", 60)
            items = [read_outgoing(write_instance(folder, number)) for number in (1, 2)]
            with open_stow(StowServer(name="web", url=f"http://127.0.0.1:{http}/dicom-web")) as session:
                echoed = session.echo()
                outcomes = [session.send(item).outcome.value for item in (*items, items[0])]
            found = {"echo": echoed, "outcomes": outcomes, "instances": len(ask(http, "/instances"))}
            sys.stdout.write(json.dumps(found) + "\n")
        finally:
            orthanc.terminate()
            orthanc.wait(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
