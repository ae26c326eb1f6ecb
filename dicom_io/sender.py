"""The sender: files go to a peer by C-STORE, byte for byte as they lie on the disk, in one association."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.errors import NotDicom, PeerError, PeerRejected, PeerUnreachable, StoreRefused
from dicom_io.pynetdicom_settings import MAXIMUM_CONTEXTS, RequestorEntity, configure_pynetdicom, tune_socket

SUCCESS = 0x0000
DUPLICATE_SOP_INSTANCE = 0x0111
"""The peer holds this SOP Instance UID already (PS3.7 section C.5.3): an earlier send arrived, its answer did not."""
WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
"""Warnings of PS3.7 annex C beside the range 0xB000 to 0xBFFF of PS3.4 table B.2-1: the instance was stored."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Destination:
    """A Storage SCP, and how we call it."""

    name: str
    host: str
    port: int
    ae_title: str
    """The AE title that we call."""
    calling_ae_title: str
    """Our own; the peer must know it."""
    connection_timeout_seconds: float = 10.0
    acse_timeout_seconds: float = 30.0
    dimse_timeout_seconds: float = 120.0
    """How long the peer may take to answer a C-STORE; an archive may write to tape first."""
    network_timeout_seconds: float = 120.0

    def __str__(self) -> str:
        return f"{self.name} ({self.ae_title} at {self.host}:{self.port}, called by {self.calling_ae_title})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SendResult:
    """The answer to one C-STORE that the peer stored."""

    path: Path
    sop_instance_uid: str
    status: int
    """DIMSE status: 0x0000, or one with which the instance is stored nevertheless."""

    @property
    def is_warning(self) -> bool:
        """Whether the peer stored the instance and had something to say about it."""
        return self.status != SUCCESS


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outgoing:
    path: Path
    sop_class_uid: UID
    sop_instance_uid: str
    transfer_syntax_uid: UID


def store(destination: Destination, paths: Sequence[Path]) -> tuple[SendResult, ...]:
    """Send Part 10 files and return one result each, in their order, once the peer stored them all.

    Only the SOP classes and transfer syntaxes that are sent are proposed, and nothing is encoded anew. Raises NotDicom for a
    file that is none, PeerUnreachable, PeerRejected (the association or a presentation context), or StoreRefused: the other
    files were sent nevertheless, and the error's `results` tell which of them the peer stored.
    """
    outgoing = [_outgoing(path) for path in paths]
    if not outgoing:
        return ()
    contexts = sorted({(item.sop_class_uid, item.transfer_syntax_uid) for item in outgoing})
    if len(contexts) > MAXIMUM_CONTEXTS:
        raise ValueError(
            f"paths: expected at most {MAXIMUM_CONTEXTS} pairs of SOP class and transfer syntax in one association,"
            f" got {len(contexts)}; send them in smaller groups"
        )
    results: list[SendResult] = []
    failures: list[PeerError] = []
    with _associated(destination, [build_context(*context) for context in contexts]) as association:
        for item in outgoing:
            try:
                results.append(_store_one(destination, association, item))
            except (StoreRefused, PeerRejected) as error:
                failures.append(error)
            except PeerUnreachable as error:
                failures.append(error)
                break
    if failures:
        raise _with_results(failures, tuple(results))
    return tuple(results)


def echo(destination: Destination) -> None:
    """Ask the peer whether it is there, by C-ECHO; raises PeerUnreachable or PeerRejected where it does not say yes."""
    with _associated(destination, [build_context(Verification)]) as association:
        status = association.send_c_echo()
    if "Status" not in status:
        raise _unanswered(destination, "C-ECHO")
    if status.Status != SUCCESS:
        raise PeerRejected(f"{destination}: expected C-ECHO status 0x0000, got 0x{status.Status:04X}; see the peer's log")


@contextlib.contextmanager
def _associated(destination: Destination, contexts: list[PresentationContext]) -> Iterator[Association]:
    configure_pynetdicom()
    entity = RequestorEntity(ae_title=destination.calling_ae_title)
    entity.connection_timeout = destination.connection_timeout_seconds
    entity.acse_timeout = destination.acse_timeout_seconds
    entity.dimse_timeout = destination.dimse_timeout_seconds
    entity.network_timeout = destination.network_timeout_seconds
    connected: list[bool] = []
    try:
        association = entity.associate(
            destination.host,
            destination.port,
            contexts=contexts,
            ae_title=destination.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, tune_socket), (evt.EVT_CONN_OPEN, lambda _event: connected.append(True))],
        )
    except OSError as error:
        raise PeerUnreachable(f"{destination}: expected a host with an address, got {error}; correct the host") from error
    if not association.is_established:
        raise _no_association(destination, association, is_connected=bool(connected))
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()


def _store_one(destination: Destination, association: Association, item: _Outgoing) -> SendResult:
    if not association.is_established:
        raise _unanswered(destination, f"C-STORE of {item.path.name}")
    try:
        answer: Dataset = association.send_c_store(item.path)
    except ValueError as error:
        # pynetdicom's word for "no accepted presentation context fits".
        raise PeerRejected(
            f"{destination}: expected it to accept {item.sop_class_uid.name} in {item.transfer_syntax_uid.name}, got a refusal;"
            " allow that SOP class and transfer syntax for our AE title there"
        ) from error
    if "Status" not in answer:
        raise _unanswered(destination, f"C-STORE of {item.path.name}")
    status = int(answer.Status)
    if not _is_stored(status):
        comment = str(answer.get("ErrorComment", "") or "no comment")
        raise StoreRefused(
            f"{destination}: expected C-STORE status 0x0000 for {item.path.name}, got 0x{status:04X} ({comment}); see the peer's log"
        )
    return SendResult(path=item.path, sop_instance_uid=item.sop_instance_uid, status=status)


def _is_stored(status: int) -> bool:
    return status in (SUCCESS, DUPLICATE_SOP_INSTANCE) or status in WARNINGS or 0xB000 <= status <= 0xBFFF


def _outgoing(path: Path) -> _Outgoing:
    """What a file's meta says; raises NotDicom where it says too little, OSError where the file cannot be read."""
    try:
        meta, _offset = split_dataset(path)
        return _Outgoing(
            path=path,
            sop_class_uid=UID(meta["MediaStorageSOPClassUID"].value),
            sop_instance_uid=str(meta["MediaStorageSOPInstanceUID"].value),
            transfer_syntax_uid=UID(meta["TransferSyntaxUID"].value),
        )
    except (InvalidDicomError, KeyError, ValueError, EOFError, NotImplementedError) as error:
        raise NotDicom(f"{path}: expected a Part 10 file with file meta, got {error}; write it again") from error


def _no_association(destination: Destination, association: Association, *, is_connected: bool) -> PeerError:
    """Say why there is no association, and what helps."""
    if not is_connected:
        return PeerUnreachable(f"{destination}: expected a connection, got none; is the peer running, and host and port correct?")
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "no reason given")
        return PeerRejected(f"{destination}: expected an association, got a rejection ({reason}); make both AE titles known there")
    if association.rejected_contexts:
        refused = ", ".join(
            f"{UID(str(context.abstract_syntax)).name} in {context.transfer_syntax[0].name}" for context in association.rejected_contexts
        )
        return PeerRejected(f"{destination}: expected it to accept {refused}, got a refusal; allow them for our AE title there")
    return PeerUnreachable(f"{destination}: expected an answer to the association request, got none; see the peer's log")


def _unanswered(destination: Destination, request: str) -> PeerUnreachable:
    return PeerUnreachable(f"{destination}: expected an answer to the {request}, got a broken or silent association; see the peer's log")


def _with_results(failures: Sequence[PeerError], results: tuple[SendResult, ...]) -> PeerError:
    """The gravest failure (a broken association, else the first refusal), with what was stored beside it."""
    gravest = next((error for error in failures if isinstance(error, PeerUnreachable)), failures[0])
    gravest.results = results
    return gravest
