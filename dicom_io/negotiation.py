"""Which presentation contexts we accept: what the peer may ask of us, in every transfer syntax whose pixels are in the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from dicom_io.admission import EVERY_RIGHT, Right

PREFERRED_TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Taken first, in this order, where a peer offers several in one context; the acceptor has the choice (PS3.8 section 9.3.3.2).
Explicit VR comes first because it keeps the VR of private elements."""

PUBLIC_TRANSFER_SYNTAXES = "1.2.840.10008.1.2"
"""The root of the standard's transfer syntaxes; how a private one encodes a data set, nobody but its maker knows."""

WITHOUT_PIXELS = frozenset(
    {
        "1.2.840.10008.1.2.4.94",  # JPIP Referenced
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.204",  # JPIP HTJ2K Referenced
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
        "1.2.840.10008.1.2.6.1",  # RFC 2557 MIME encapsulation
        "1.2.840.10008.1.2.6.2",  # XML Encoding
        "1.2.840.10008.1.2.7.1",  # SMPTE ST 2110-20 Uncompressed Progressive Active Video
        "1.2.840.10008.1.2.7.2",  # SMPTE ST 2110-20 Uncompressed Interlaced Active Video
        "1.2.840.10008.1.2.7.3",  # SMPTE ST 2110-30 PCM Digital Audio
    }
)
"""Transfer syntaxes whose pixel data lie elsewhere, in a stream, or in no DICOM encoding at all."""

STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
"""Storage SOP classes younger than our dictionary have UIDs below this."""

NOT_STORED = frozenset(
    {
        "1.2.840.10008.1.3.10",  # Media Storage Directory: lives on media only
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
    }
)
"""SOP classes with "Storage" in their name that no C-STORE carries."""

KNOWN_STORAGE_CLASSES = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
"""Storage SOP classes that pynetdicom routes to its storage service by itself."""


def is_storage_class(uid: str) -> bool:
    """Say whether a SOP class is stored by C-STORE: a standard one, a private one, or one too young to be known."""
    sop_class = UID(uid)
    if sop_class.is_private or sop_class in KNOWN_STORAGE_CLASSES:
        return True
    is_unknown = sop_class.name in ("", uid)
    return sop_class.startswith(STORAGE_ROOT) if is_unknown else "Storage" in sop_class.name and uid not in NOT_STORED


def is_storable_syntax(uid: str) -> bool:
    """Say whether a transfer syntax carries the whole data set in the bytes that are sent."""
    is_public = uid == PUBLIC_TRANSFER_SYNTAXES or uid.startswith(f"{PUBLIC_TRANSFER_SYNTAXES}.")
    return is_public and uid not in WITHOUT_PIXELS


def right_to(uid: str) -> Right | None:
    """Return the right that a SOP class needs; None: we do not serve it."""
    if uid == Verification:
        return Right.ECHO
    if uid == StorageCommitmentPushModel:
        return Right.COMMIT
    return Right.STORE if is_storage_class(uid) else None


def supported_contexts(offered: Iterable[PresentationContext], rights: Set[Right] = EVERY_RIGHT) -> list[PresentationContext]:
    """Return, of what a peer offers, the contexts that it may use, their transfer syntaxes in our order of preference.

    A class that is offered in several contexts appears once, with all their syntaxes: pynetdicom then settles each of the
    peer's contexts on the first of our syntaxes that it holds, and rejects the others with the reason (PS3.8 table 9-18).
    """
    syntaxes: dict[str, dict[str, None]] = {}
    for context in offered:
        uid = str(context.abstract_syntax)
        if right_to(uid) in rights:
            syntaxes.setdefault(uid, {}).update(dict.fromkeys(str(syntax) for syntax in context.transfer_syntax))
    return [_supported(uid, ordered) for uid, found in syntaxes.items() if (ordered := _by_preference(list(found)))]


def _supported(uid: str, syntaxes: list[str]) -> PresentationContext:
    context = build_context(uid, syntaxes)
    if uid == StorageCommitmentPushModel:
        # The peer may be the one that commits, and calls back to report: then it is the SCP (PS3.4 section J.3.3).
        context.scu_role = context.scp_role = True
    return context


def _by_preference(offered: Sequence[str]) -> list[str]:
    preferred = [str(syntax) for syntax in PREFERRED_TRANSFER_SYNTAXES if syntax in offered]
    return preferred + [syntax for syntax in offered if syntax not in preferred and is_storable_syntax(syntax)]
