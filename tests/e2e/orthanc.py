"""Orthanc as the archive: it starts, answers by REST, and ends with the block. It listens on every interface: use a namespace."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.e2e.harness import wait_until


@contextmanager
def orthanc(folder: Path, http: int, settings: Mapping[str, Any]) -> Iterator[None]:
    """Orthanc with `settings`, keeping its files in `folder`, answering REST on `http`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), "HttpPort": http}
    private = {"RemoteAccessAllowed": False, "AuthenticationEnabled": False}
    (folder / "orthanc.json").write_text(json.dumps({"Name": "Archive", **own, **private, **settings}))
    with (folder / "orthanc.log").open("a") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            wait_until(lambda: ask(http, "/system") is not None, "Orthanc to answer", 60)
            yield
        finally:
            process.terminate()
            process.wait(60)


def modality(ae_title: str, port: int) -> dict[str, Any]:
    """How Orthanc knows a system that may ask it for storage commitment, and hears its report on `port`."""
    return {"AET": ae_title, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}


def held_modalities(port: int) -> dict[str, str]:
    """Modality -> Orthanc's name of an instance of it, for everything that it holds."""
    return {ask(port, f"/instances/{instance}/simplified-tags")["Modality"]: instance for instance in ask(port, "/instances")}


def ask(port: int, path: str) -> Any:
    """What Orthanc's REST interface answers, or None while it does not."""
    with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)
    return None
