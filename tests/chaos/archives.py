"""The archive under chaos: DCMTK's storescp, which shows how often each object came, or Orthanc, which commits."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_io.errors import NotDicom
from dicom_io.part10 import read_file
from tests.e2e.harness import Site, free_port, storescp
from tests.e2e.orthanc import ask, modality, orthanc


@dataclass(kw_only=True)
class Archive:
    """A peer that can be stopped and started again."""

    run: Callable[[], AbstractContextManager[None]]
    held: Callable[[], Mapping[str, Sequence[bytes]]]
    """SOP Instance UID -> the data sets that are held under it, as encoded; ask while it runs."""
    commits: bool
    """Whether it promises to keep what it was sent."""
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Run until `stop`."""
        self._running.enter_context(self.run())

    def stop(self) -> None:
        """Stop, whatever it is at."""
        self._running.close()


def storescp_archive(site: Site, port: int) -> Archive:
    """A storescp that keeps each object as often as it comes; it listens on `port`."""
    here = replace(site, archive_port=port)
    return Archive(run=lambda: storescp(here), held=lambda: _copies(site.archive), commits=False)


def orthanc_archive(site: Site, port: int) -> Archive:
    """An Orthanc with storage commitment, whose reports go straight to the listener; its DICOM interface listens on `port`."""
    http = free_port()
    sender = {"sender": modality("MEDSAM2D", site.port)}
    settings = {"DicomAet": "ARCHIVE", "DicomPort": port, "DicomModalities": sender}

    @contextmanager
    def run() -> Iterator[None]:
        with orthanc(site.folder / "orthanc", http, settings):
            yield

    return Archive(run=run, held=lambda: _instances(http, site.folder / "instance.dcm"), commits=True)


def _copies(folder: Path) -> Mapping[str, Sequence[bytes]]:
    found: dict[str, list[bytes]] = {}
    for path in folder.iterdir():
        with contextlib.suppress(NotDicom):  # not even its header: storescp was ended in the middle of it
            stored = read_file(path)
            found.setdefault(str(stored.meta.MediaStorageSOPInstanceUID), []).append(stored.encoded)
    return found


def _instances(http: int, scratch: Path) -> Mapping[str, Sequence[bytes]]:
    found: dict[str, list[bytes]] = {}
    for instance in ask(http, "/instances?expand"):
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/instances/{instance['ID']}/file", timeout=20) as answer:
            scratch.write_bytes(answer.read())
        found.setdefault(instance["MainDicomTags"]["SOPInstanceUID"], []).append(read_file(scratch).encoded)
    return found
