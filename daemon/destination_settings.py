"""Destinations in the configuration: DICOM (C-STORE), DICOMweb (STOW-RS) or a folder, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, model_validator

from daemon.setting_types import AeTitle, FilePath, Host, HttpUrl, Port
from rules.outputs import OutputKind
from rules.scalars import Number, Section

Seconds = Annotated[Number, Field(gt=0, le=86_400)]
Days = Annotated[Number, Field(gt=0, le=7 * 86_400)]


class DestinationTls(Section):
    """TLS towards a destination (PS3.15 annex B)."""

    ca_file: FilePath | None = None
    """Certificates (PEM) of the authorities that may vouch for it; absent: those of the operating system."""
    certificate_file: FilePath | None = None
    """Our own certificate (PEM), where the destination asks for one."""
    key_file: FilePath | None = None
    """Its key (PEM), readable for the service's user alone."""

    @model_validator(mode="after")
    def _paired(self) -> DestinationTls:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected certificate_file and key_file together, got one of them")
        return self


class _Receiver(Section):
    """What all destinations have in common."""

    objects: Annotated[tuple[OutputKind, ...], Field(min_length=1)] = ("seg", "sr", "overlay")
    """Which of the objects that rules write it gets; [overlay] for a system that can show pictures only."""


class DicomDestination(_Receiver):
    """A Storage SCP."""

    kind: Literal["dicom"] = "dicom"
    """dicom: C-STORE (the default); stow: DICOMweb; folder: files."""
    host: Host
    """Where it listens."""
    port: Annotated[Port, Field(ge=1)]
    """Its DICOM port."""
    ae_title: AeTitle
    """Its AE title."""
    calling_ae_title: AeTitle | None = None
    """What we call ourselves there; absent: `ae_title` of this configuration."""
    timeout_seconds: Seconds = 30.0
    """How long it may take to answer."""
    tls: DestinationTls | None = None
    """Absent: plain text."""
    commitment: Literal["auto", "none", "same", "reverse", "query"] = "auto"
    """What must happen before a result counts as delivered. auto: storage commitment where the destination accepts that
    service, else its answer to the C-STORE is enough. same, reverse: storage commitment, reported on the same association or on
    one that it opens to our listener. query: it must find the result by C-FIND. none: its answer is enough."""
    commitment_wait_seconds: Seconds = 2.0
    """auto, same: how long the association is kept open for a report."""
    commitment_timeout_seconds: Days = 3600.0
    """A report that did not come in this time is asked for again."""


class StowDestination(_Receiver):
    """A DICOMweb server that takes STOW-RS (PS3.18 section 10.5)."""

    kind: Literal["stow"]
    """Tells it from the other forms of a destination."""
    url: HttpUrl
    """Its DICOMweb root, such as https://pacs.example/dicom-web; objects are posted to URL/studies."""
    credentials_file: FilePath | None = None
    """A file with one line, readable for the service's user alone: `bearer TOKEN`, or `basic USER:PASSWORD`."""
    timeout_seconds: Seconds = 30.0
    """How long each step (connecting, sending, the answer) may take."""
    tls: DestinationTls | None = None
    """Absent: https trusts the authorities of the operating system."""

    @model_validator(mode="after")
    def _secret_stays_secret(self) -> StowDestination:
        host = urlsplit(self.url).hostname
        if self.credentials_file is not None and self.url.startswith("http:") and host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("expected an https URL, since credentials would cross the network in plain text, got http")
        return self


class FolderDestination(_Receiver):
    """A folder that another program watches."""

    kind: Literal["folder"]
    """Tells it from the other forms of a destination."""
    path: FilePath
    """It must exist: a share that is not mounted is waited for."""


def kind(value: Any) -> str:
    """Return which form a destination has; its name stands in the message where there is no such form."""
    return str(value.get("kind", "dicom") if isinstance(value, dict) else getattr(value, "kind", "dicom"))


Destination: TypeAlias = Annotated[
    Annotated[DicomDestination, Tag("dicom")] | Annotated[StowDestination, Tag("stow")] | Annotated[FolderDestination, Tag("folder")],
    Discriminator(kind),
]
"""A system that results are sent to."""
