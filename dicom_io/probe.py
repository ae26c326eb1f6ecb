"""The probe: what a peer would take from us, asked by one association that sends nothing. A C-ECHO alone cannot tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom import build_context

from dicom_io.commitment import PUSH_MODEL
from dicom_io.errors import ContextsRefused
from dicom_io.peer import Destination, associated
from dicom_io.proof import STUDY_ROOT_FIND

VERIFICATION = "1.2.840.10008.1.1"
SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR = (f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (34, 33, 22))
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

CANDIDATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    SEGMENTATION: ("SEG", (ExplicitVRLittleEndian,)),
    LABEL_MAP: ("LABELMAP SEG", (ExplicitVRLittleEndian, RLELossless)),
    COMPREHENSIVE_3D_SR: ("Comprehensive 3D SR", (ExplicitVRLittleEndian,)),
    COMPREHENSIVE_SR: ("Comprehensive SR", (ExplicitVRLittleEndian,)),
    ENHANCED_SR: ("Enhanced SR", (ExplicitVRLittleEndian,)),
    SECONDARY_CAPTURE: ("Secondary Capture", (ExplicitVRLittleEndian,)),
    PUSH_MODEL: ("storage commitment", ()),
    STUDY_ROOT_FIND: ("query", ()),
    VERIFICATION: ("verification", ()),
}
"""SOP class -> its short name, and the transfer syntaxes that our objects have (none given: the default ones)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capability:
    """What a peer accepted: (SOP Class UID, Transfer Syntax UID) -> yes or no."""

    accepted: Mapping[tuple[str, str], bool]

    def names(self, *, accepted: bool) -> tuple[str, ...]:
        """Return the short names of the classes that are, or are not, accepted in any of our transfer syntaxes."""
        yes = {sop_class for (sop_class, _syntax), answer in self.accepted.items() if answer}
        return tuple(name for sop_class, (name, _) in CANDIDATES.items() if (sop_class in yes) is accepted)

    def __str__(self) -> str:
        refused = self.names(accepted=False)
        return f"accepts {', '.join(self.names(accepted=True)) or 'nothing'}" + (f"; refuses {', '.join(refused)}" if refused else "")


def probe(destination: Destination) -> Capability:
    """Propose everything that we might send and return what the peer accepts. Raises PeerUnreachable or PeerRejected."""
    pairs = [(sop_class, syntax) for sop_class, (_, syntaxes) in CANDIDATES.items() for syntax in syntaxes or (ExplicitVRLittleEndian,)]
    contexts = [build_context(sop_class, list(CANDIDATES[sop_class][1] and (syntax,)) or None) for sop_class, syntax in pairs]
    try:
        with associated(destination, contexts) as association:
            accepted = {str(context.abstract_syntax): set[str]() for context in association.accepted_contexts}
            for context in association.accepted_contexts:
                accepted[str(context.abstract_syntax)].add(str(context.transfer_syntax[0]))
    except ContextsRefused:
        accepted = {}
    return Capability(
        accepted={
            (sop_class, syntax): syntax in accepted.get(sop_class, ()) or (not CANDIDATES[sop_class][1] and sop_class in accepted)
            for sop_class, syntax in pairs
        }
    )
