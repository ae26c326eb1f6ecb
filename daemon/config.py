"""Configuration: every setting, its unit, its default and what it is for.

`config.yaml` at the top of the repository shows all of them. Units stand in the names of the keys. Relative paths count
from the folder of the configuration file. The fields' docstrings are the descriptions in the JSON Schema (`json_schema()`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from daemon.destination_settings import Destination, DestinationTls
from daemon.listener_settings import ListenerSettings
from daemon.notification_settings import NotificationSettings
from daemon.setting_types import AeTitle, FilePath, Host, Name, Port, Seconds, Sha256, UidRoot
from rules.places import Places
from rules.scalars import Flag, Integer, Number, Section, Text
from rules.strict_yaml import read

SHIPPED_WEIGHTS = "starter"
"""The weights that ship with the software; known without being configured."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Days = Annotated[Number, Field(ge=0, le=36_500)]


class FolderSettings(Section):
    """Where the daemon keeps its files; all on local disks that survive a restart."""

    state: FilePath = Path("/var/lib/medsam2d")
    """Everything below is derived from this folder where it is absent."""
    spool: FilePath = Field(default_factory=lambda data: data["state"] / "spool")
    """Instances as they arrived; absent: state/spool."""
    results: FilePath = Field(default_factory=lambda data: data["state"] / "results")
    """SEG objects on their way out; absent: state/results."""
    masks: FilePath = Field(default_factory=lambda data: data["state"] / "masks")
    """Masks as the model made them, so that a crash or a corrected header costs no inference; absent: state/masks."""
    pictures: FilePath = Field(default_factory=lambda data: data["state"] / "pictures")
    """Results outlined on their images, for the status page; absent: state/pictures."""
    audit: FilePath = Field(default_factory=lambda data: data["state"] / "audit")
    """Audit records, a file a day; absent: state/audit."""
    weights: FilePath = Field(default_factory=lambda data: data["state"] / "weights")
    """Weights installed by `medsam2d weights install`; absent: state/weights."""


class SpoolSettings(Section):
    """The instances on disk."""

    reserve_mib: Annotated[Integer, Field(ge=0)] = 1024
    """Free space that is never filled, kept for database and audit: below it associations are rejected and instances refused (0xA700)."""
    maximum_instance_mib: Annotated[Integer, Field(ge=1)] = 4096
    """A larger instance is refused (0xA700)."""
    maximum_study_mib: Annotated[Integer, Field(ge=1)] = 65_536
    """An instance that makes its study larger is refused (0xA700)."""


class StoreSettings(Section):
    """The database of series, jobs and deliveries."""

    url: Text | None = None
    """SQLAlchemy URL; absent: SQLite, in state/medsam2d.sqlite."""


class Source(Section):
    """Where a sender's series can be counted (C-FIND, Study Root)."""

    host: Host
    """Of the system that answers: the sender itself, or its archive."""
    port: Annotated[Port, Field(ge=1)]
    """Its DICOM port."""
    ae_title: AeTitle
    """The AE title that answers the query."""
    calling_ae_title: AeTitle | None = None
    """What we call ourselves there; absent: `ae_title` of this configuration."""
    timeout_seconds: Seconds = 10.0
    """How long it may take to answer."""


class ArrivalSettings(Section):
    """When a series, or a study, counts as complete."""

    quiet_seconds: Seconds = 30.0
    """No instance for so long, and no association of its sender open."""
    incomplete_seconds: Annotated[Number, Field(gt=0, le=7 * 86_400)] = 1800.0
    """A series of which something is missing is held for so long after its last instance."""
    incomplete: Literal["run", "hold", "discard"] = "run"
    """What follows then. run: its results say that they are partial. hold: it waits on, for ever. discard: no result."""
    sources: dict[AeTitle, Source] = Field(default_factory=dict)
    """By calling AE title: who is asked how many instances a series has."""


class RetentionSettings(Section):
    """How long files are kept; rows of the store are kept for ever."""

    inputs_days: Days = 14.0
    """Instances whose every result is delivered, and kept masks."""
    results_days: Days = 30.0
    """Results that every destination has confirmed."""
    free_mib: Annotated[Integer, Field(ge=0)] = 4096
    """Below so much free space delivered instances go before their time, the oldest first."""
    check_seconds: Seconds = 300.0
    """How often it is looked for what may go."""


class RulesSettings(Section):
    """What is segmented."""

    paths: tuple[FilePath, ...] = ()
    """Rule files, or folders of them; tried in this order, the first rule that matches wins."""


class WeightsSetting(Section):
    """One weights file under a name that rules can use."""

    file: FilePath
    """A MedSAM2 checkpoint (.pt), or .safetensors."""
    sha256: Sha256 | None = None
    """Expected hash of the file, as `sha256sum FILE` prints it; absent: `trust` must be true."""
    trust: Flag = False
    """true: use the file without a known hash (recorded in the audit trail)."""
    licence: Text = "not stated"
    """For people: `medsam2d weights list` shows it."""
    intended_use: Text = "not stated"
    """The same."""

    @model_validator(mode="after")
    def _vouched_for(self) -> WeightsSetting:
        if (self.sha256 is not None) == self.trust:
            got = "both" if self.trust else "neither"
            raise ValueError(f"expected either sha256 or trust: true, got {got}; `sha256sum FILE` prints the hash")
        return self


class WorkerSettings(Section):
    """The process that segments."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda:[0-9]+)$", json_schema_extra={"format": "device"})] = "auto"
    """auto (a GPU if there is one), cpu, or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on a CPU, bfloat16 on a GPU that has it, else float16. Prompted slices are always computed in float32."""
    threads: Annotated[Integer, Field(ge=1, le=1024)] | None = None
    """CPU threads; absent: one a core."""
    resident_models: Annotated[Integer, Field(ge=1, le=100)] = 2
    """Weights that stay loaded; those used longest ago are given up."""
    step_timeout_seconds: Seconds = 300.0
    """A single step of the model (a slice, with its encoding) that takes longer is taken to hang: the worker ends itself, and the
    job is tried again."""
    default_weights: Name = SHIPPED_WEIGHTS
    """For rules and targets that name no weights; `starter` ships with the software."""
    attempts: Annotated[Integer, Field(ge=1, le=100)] = 3
    """A job that failed so often is quarantined."""


class InboxSettings(Section):
    """A folder whose files are taken in as if they had been received: exports, USB imports."""

    folder: FilePath | None = None
    """Absent: no inbox. What is taken in is removed from it; what is no DICOM is moved to its sub-folder `rejected`."""
    quiet_seconds: Seconds = 5.0
    """A file is taken once it has not changed for so long and nobody holds it open for writing."""
    calling_ae_title: AeTitle = "INBOX"
    """The AE title that rules and audit see as the sender of such files."""


class DeliverySettings(Section):
    """How often an unreachable destination is tried again; it is tried for ever."""

    retry_minimum_seconds: Seconds = 5.0
    """After the first failure; each further one doubles it. Each wait is shortened by up to half, so that retries spread."""
    retry_maximum_seconds: Seconds = 300.0
    """It grows no longer than this."""

    @model_validator(mode="after")
    def _ordered(self) -> DeliverySettings:
        if self.retry_minimum_seconds > self.retry_maximum_seconds:
            raise ValueError(
                "expected retry_minimum_seconds <= retry_maximum_seconds, "
                f"got {self.retry_minimum_seconds:g} and {self.retry_maximum_seconds:g}"
            )
        return self


class ResultSettings(Section):
    """What results say of themselves."""

    uid_root: UidRoot = "2.25"
    """Root of the UIDs of results; 2.25 needs no registration (PS3.5 annex B.2)."""
    series_number: Annotated[Integer, Field(ge=0, le=2**31 - 1)] = 9000
    """Series Number (0020,0011)."""
    series_description: Annotated[str, Field(min_length=1, max_length=64)] = "AI result, not for diagnosis"
    """The rule's name follows it."""
    manufacturer: Annotated[str, Field(min_length=1, max_length=64)] = "medsam2d"
    """Manufacturer (0008,0070) of the equipment that made the result."""
    content_creator_name: Annotated[str, Field(min_length=1, max_length=64)] = "medsam2d^automatic"
    """A DICOM person name: family^given."""
    device_serial_number: Annotated[str, Field(min_length=1, max_length=64)] = "1"
    """Device Serial Number (0018,1000): tells installations of a site apart."""
    maximum_frames: Annotated[Integer, Field(ge=1)] = 2000
    """A viewer's budget: targets are spread over several segmentation objects rather than exceed it."""
    maximum_mib: Annotated[Integer, Field(ge=1, le=2000)] = 100
    """The same, in MiB of decoded pixels of one object."""


class SyslogSettings(Section):
    """An audit record repository that takes syslog over TLS (RFC 5425)."""

    host: Host
    """Its name must stand in its certificate."""
    port: Annotated[Port, Field(ge=1)] = 6514
    """6514 is the port of syslog over TLS."""
    tls: DestinationTls = DestinationTls()
    """Who may vouch for it, and our own certificate."""


class AuditSettings(Section):
    """Audit messages of PS3.15 section A.5; the trail on disk is always kept (folders.audit)."""

    source_id: Text | None = None
    """How we are called in messages; absent: this host's name."""
    enterprise_site_id: Text | None = None
    """The site, where one repository serves several."""
    syslog: SyslogSettings | None = None
    """Absent: messages are not sent; `medsam2d audit export` still writes them."""


class WebSettings(Section):
    """The status page, metrics and health checks."""

    host: Host = "127.0.0.1"
    """Address to listen on; any but loopback needs `token_file`, and a reverse proxy for TLS."""
    port: Port = 8119
    """0 picks a free one."""
    token_file: FilePath | None = None
    """A file with the token that page and metrics ask for; absent: whoever reaches the port sees them."""
    hosts: tuple[Host, ...] = ()
    """Names under which the page may be asked for, besides localhost and `host`: that of a reverse proxy, for example."""
    actions: bool = True
    """Whether the page has buttons: probe a destination, release what is quarantined. False: it only shows."""
    pictures: bool = True
    """Whether the page of a job shows its result outlined on its images: whoever may see the page then sees a patient's images."""

    @model_validator(mode="after")
    def _open_to_few(self) -> WebSettings:
        if self.token_file is None and self.host not in LOOPBACK:
            raise ValueError(f"host {self.host}: expected token_file beside an address that others can reach; set it, or use 127.0.0.1")
        return self


class LoggingSettings(Section):
    """What goes to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less grave than this is left out."""


class Config(Section):
    """The configuration of the daemon."""

    ae_title: AeTitle = "MEDSAM2D"
    """Our own AE title: called by senders, calling at destinations."""
    listener: ListenerSettings = ListenerSettings()
    folders: FolderSettings = Field(default_factory=FolderSettings)
    spool: SpoolSettings = SpoolSettings()
    store: StoreSettings = StoreSettings()
    inbox: InboxSettings = InboxSettings()
    arrivals: ArrivalSettings = Field(default_factory=ArrivalSettings)
    retention: RetentionSettings = RetentionSettings()
    rules: RulesSettings = RulesSettings()
    weights: dict[Name, WeightsSetting] = Field(default_factory=dict)
    """Weights by name, besides the shipped and the installed ones."""
    worker: WorkerSettings = WorkerSettings()
    destinations: dict[Name, Destination] = Field(default_factory=dict)
    """Where results go, by the names that rules use."""
    delivery: DeliverySettings = DeliverySettings()
    result: ResultSettings = ResultSettings()
    audit: AuditSettings = AuditSettings()
    web: WebSettings | None = None
    """Absent: there is no status page, and nothing listens for it."""
    notifications: NotificationSettings | None = None
    """Absent: nobody is told."""
    logging: LoggingSettings = LoggingSettings()
    _places: Places | None = PrivateAttr(default=None)

    @property
    def called_ae_titles(self) -> tuple[str, ...]:
        """The AE titles that the listener answers to."""
        return self.listener.called_ae_titles or (self.ae_title,)

    @property
    def store_url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store.url or f"sqlite:///{self.folders.state / 'medsam2d.sqlite'}"

    @property
    def places(self) -> Places:
        """The lines of the file that the configuration was read from."""
        return self._places or Places(file=Path("configuration"))


def load_config(path: Path) -> Config:
    """Read a configuration file; raises `rules.errors.ConfigFaults` with every fault as `file:line: path: message`."""
    loaded = read(path, Config)
    config = loaded.value
    config._places = loaded.places
    return config


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, for editors."""
    return Config.model_json_schema()
