"""From an A-ASSOCIATE-RQ's bytes to an A-ASSOCIATE-AC's: pynetdicom reads, negotiates and writes, on bytes in memory."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from dicom_io.admission import Request, Right
from dicom_io.negotiation import supported_contexts
from dicom_io.pdu import AbortReason, MalformedPdu

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The only one that DICOM has (PS3.7 section A.2.1)."""
PROTOCOL_VERSION = 0x0001
"""Bit 0 stands for version 1; others are not tested (PS3.8 table 9-11)."""

_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    struct.error,
)
"""What pynetdicom raises on bytes that are no A-ASSOCIATE-RQ."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptedContext:
    """One presentation context that messages may use."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acceptance:
    """An accepted association: the answer, and what it agrees on."""

    pdu: bytes
    contexts: Mapping[int, AcceptedContext]
    maximum_length: int
    """Bytes of the largest PDU that the peer takes; 0: unlimited."""


class AssociationRequest:
    """An A-ASSOCIATE-RQ, read."""

    def __init__(self, encoded: bytes, peer_address: str) -> None:
        """Read the PDU with its header; raises MalformedPdu."""
        pdu = A_ASSOCIATE_RQ()
        try:
            pdu.decode(encoded)
            primitive = pdu.to_primitive()
            self._offered = list(primitive.presentation_context_definition_list)
            self._information = list(primitive.user_information)
            self._version = int(pdu.protocol_version)
            titles = [str(getattr(primitive, name) or "").strip() for name in ("calling_ae_title", "called_ae_title")]
        except _UNREADABLE as error:
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"A-ASSOCIATE-RQ: cannot be read ({type(error).__name__})") from error
        self._primitive = primitive
        self.request = Request(calling_ae_title=titles[0], called_ae_title=titles[1], peer_address=peer_address)

    @property
    def has_our_version(self) -> bool:
        """Whether the peer speaks version 1 of the protocol."""
        return bool(self._version & PROTOCOL_VERSION)

    def accept(self, rights: frozenset[Right], maximum_pdu_size: int, *, serves_commitment: bool) -> Acceptance:
        """Negotiate what the peer may ask of us; raises MalformedPdu where its proposal contradicts itself."""
        rights = rights if serves_commitment else rights - {Right.COMMIT}
        try:
            contexts, roles = negotiate_as_acceptor(self._offered, supported_contexts(self._offered, rights), self._roles())
            pdu = self._answer(contexts, roles, maximum_pdu_size)
            return Acceptance(pdu=pdu, contexts=_accepted(contexts), maximum_length=self._maximum_length())
        except _UNREADABLE as error:
            raise MalformedPdu(AbortReason.INVALID_PARAMETER, f"A-ASSOCIATE-RQ: cannot be answered ({type(error).__name__})") from error

    def _roles(self) -> dict[UID, tuple[bool | None, bool | None]]:
        items = [item for item in self._information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)]
        return {UID(str(item.sop_class_uid)): (item.scu_role, item.scp_role) for item in items}

    def _maximum_length(self) -> int:
        lengths = [item.maximum_length_received for item in self._information if isinstance(item, MaximumLengthNotification)]
        return int(lengths[0]) if lengths else 0

    def _answer(self, contexts: list[PresentationContext], roles: list[SCP_SCU_RoleSelectionNegotiation], maximum_pdu_size: int) -> bytes:
        answer = A_ASSOCIATE()
        answer.application_context_name = UID(APPLICATION_CONTEXT)
        answer.calling_ae_title = self._primitive.calling_ae_title
        answer.called_ae_title = self._primitive.called_ae_title
        answer.result, answer.result_source = 0x00, 0x01
        accepted = [context for context in contexts if context.result == 0x00]
        answer.presentation_context_definition_results_list = accepted + [context for context in contexts if context.result != 0x00]
        answer.user_information = [*_our_information(maximum_pdu_size), *roles]
        return A_ASSOCIATE_AC(answer).encode()


def _our_information(
    maximum_pdu_size: int,
) -> tuple[MaximumLengthNotification, ImplementationClassUIDNotification, ImplementationVersionNameNotification]:
    length, implementation, version = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = maximum_pdu_size
    implementation.implementation_class_uid = UID(PYNETDICOM_IMPLEMENTATION_UID)
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    return length, implementation, version


def _accepted(contexts: list[PresentationContext]) -> dict[int, AcceptedContext]:
    return {
        int(context.context_id): AcceptedContext(
            context_id=int(context.context_id),
            abstract_syntax=str(context.abstract_syntax),
            transfer_syntax=str(context.transfer_syntax[0]),
        )
        for context in contexts
        if context.result == 0x00 and context.context_id is not None
    }
