"""Real associations on the loopback interface: our listener, pynetdicom as a peer, and small instances to send."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from dicom_io.listener import (
    AssociationEvent,
    AssociationEventKind,
    InMemory,
    Intake,
    Listener,
    ListenerSettings,
    Peer,
    ReceivedInstance,
    Store,
    StoreOutcome,
)
from dicom_io.pynetdicom_settings import RequestorEntity
from dicom_io.reference_listener import ReferenceListener

OUR_AE_TITLE = "MEDSAM2D"
SCANNER_AE_TITLE = "SCANNER"
SECONDS = 30.0
"""A limit for what comes in milliseconds, so that a fault fails a test rather than hang it."""


Kind = type[Listener] | type[ReferenceListener]


class Sink:
    """Takes every instance, and remembers it."""

    def __init__(self, answer: Callable[[ReceivedInstance], StoreOutcome] = lambda _received: StoreOutcome.SUCCESS) -> None:
        self.received: list[ReceivedInstance] = []
        self._answer = answer

    def __call__(self, received: ReceivedInstance) -> StoreOutcome:
        self.received.append(received)
        return self._answer(received)


class Witness:
    """Remembers what became of associations; `wait_for` blocks until an event of a kind came."""

    def __init__(self) -> None:
        self.events: list[AssociationEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: AssociationEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, kind: AssociationEventKind, count: int = 1) -> AssociationEvent:
        with self._changed:
            arrived = self._changed.wait_for(lambda: sum(event.kind is kind for event in self.events) >= count, SECONDS)
        assert arrived, f"expected {count} {kind}, got {[event.kind for event in self.events]}"
        return next(event for event in reversed(self.events) if event.kind is kind)


def settings(**changes: object) -> ListenerSettings:
    """Our listener as the tests want it: any free port, one name, one known peer."""
    usual = ListenerSettings(port=0, ae_titles=(OUR_AE_TITLE,), peers=(Peer(ae_title=SCANNER_AE_TITLE, networks=("127.0.0.0/8",)),))
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


@contextlib.contextmanager
def listening(
    store: Store | Intake, observe: Callable[[AssociationEvent], None] | None = None, *, kind: Kind = Listener, **changes: object
) -> Iterator[int]:
    """Run a listener for the length of the block, and give its port."""
    listener = kind(settings(**changes), InMemory(store) if callable(store) else store, observe or Witness())
    port = listener.start()
    try:
        yield port
    finally:
        listener.stop(drain_seconds=SECONDS)


@contextlib.contextmanager
def associated(port: int, contexts: list[PresentationContext], *, calling: str = SCANNER_AE_TITLE) -> Iterator[Association]:
    """Associate as pynetdicom's SCU, and release at the end if nobody did."""
    association = request_association(port, contexts, calling=calling)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def request_association(
    port: int, contexts: list[PresentationContext], *, calling: str = SCANNER_AE_TITLE, called: str = OUR_AE_TITLE
) -> Association:
    """Ask our listener for an association, whatever comes of it."""
    entity = RequestorEntity(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    return entity.request("127.0.0.1", port, contexts=contexts, ae_title=called)


def small_instance(number: int = 1, **attributes: object) -> Dataset:
    """A data set that identifies an instance and holds a few bytes of pixels."""
    instance = Dataset()
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.8.498.1.{number}")
    instance.PatientName = "Phantom"
    instance.StudyInstanceUID = UID("1.2.826.0.1.3680043.8.498.2")
    instance.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.3")
    instance.PixelData = b"\1\2\3\4" * 16
    instance["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(instance, keyword, value)
    instance.file_meta = FileMetaDataset()
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return instance


def encode(instance: Dataset) -> bytes:
    """The data set's bytes alone, in Explicit VR Little Endian."""
    buffer = BytesIO()
    dcmwrite(buffer, instance, enforce_file_format=True)
    return data_set_bytes(buffer.getvalue())


def write_instance(folder: Path, number: int = 1, **attributes: object) -> Path:
    """A Part 10 file of a small instance."""
    path = folder / f"{number}.dcm"
    dcmwrite(path, small_instance(number, **attributes), enforce_file_format=True)
    return path


def received(number: int = 1, **attributes: object) -> ReceivedInstance:
    """A small instance as the listener hands it on."""
    instance = small_instance(number, **attributes)
    return ReceivedInstance(
        sop_class_uid=str(instance.SOPClassUID),
        sop_instance_uid=str(instance.SOPInstanceUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        calling_ae_title=SCANNER_AE_TITLE,
        called_ae_title=OUR_AE_TITLE,
        peer_address="127.0.0.1",
        encoded=encode(instance),
    )


def data_set_bytes(file: bytes) -> bytes:
    """What follows the file meta in a Part 10 file, found by the group's length (0002,0000) alone."""
    assert file[128:132] == b"DICM"
    assert file[132:140] == b"\2\0\0\0UL\4\0"
    return file[144 + int.from_bytes(file[140:144], "little") :]


def transfer_syntax_of(file: bytes) -> str:
    """(0002,0010) of a Part 10 file, found by its bytes alone."""
    start = file.index(b"\2\0\x10\0UI") + 8
    length = int.from_bytes(file[start - 2 : start], "little")
    return file[start : start + length].rstrip(b"\0").decode()


@contextlib.contextmanager
def peer_scp(contexts: list[PresentationContext], status: Callable[[evt.Event], int], ae_title: str = "ARCHIVE") -> Iterator[int]:
    """Run pynetdicom as a Storage SCP for the length of the block, and give its port."""
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=[(evt.EVT_C_STORE, status), (evt.EVT_C_ECHO, lambda _event: 0)]
    )
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        entity.shutdown()


def on_sent_fragment(association: Association, number: int, act: Callable[[socket.socket], None]) -> None:
    """Do something to an association's connection once its `number`th PDU from now is out."""
    sent = 0

    def count(event: evt.Event) -> None:
        nonlocal sent
        sent += 1
        connection = event.assoc.dul.socket.socket if event.assoc.dul.socket else None
        if sent == number and connection is not None:
            act(connection)

    association.bind(evt.EVT_DATA_SENT, count)


CT_EXPLICIT = build_context(CTImageStorage, ExplicitVRLittleEndian)
