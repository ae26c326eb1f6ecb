"""Corrections: what do other bytes under a SOP Instance UID that was taken change, the header or the image?

A merged patient or a corrected name changes the header alone: the instance takes the place of the first, and results are written
anew from the masks that were kept. Another image under a taken UID is an error of the sender: both stay, and people are told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from daemon.audit import Audit
from daemon.store import ConflictVerdict, Store
from dicom_io.decode import decode_frames
from dicom_io.errors import RejectedInput
from dicom_io.instance import InstanceHeader, read_header
from dicom_io.values import READING_ERRORS

LOG = logging.getLogger("medsam2d.corrections")
BATCH = 50

IMAGE_KEYWORDS = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit", "Units",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "Modality",
)  # fmt: skip
"""What decides where a voxel lies and what it means; all else is who and when."""
ENCODING_KEYWORDS = frozenset({"PixelData", "BitsAllocated", "LossyImageCompression"})
"""What another transfer syntax may change without changing the image or the header."""


def compare(first: Path, second: Path) -> ConflictVerdict:
    """Say what the file `second` is to the file `first`, which has the same SOP Instance UID."""
    try:
        before, after = read_header(first), read_header(second)
        if before.sop_class_uid != after.sop_class_uid or not _same_geometry(before.dataset, after.dataset):
            return ConflictVerdict.PIXELS_CHANGED
        if not np.array_equal(decode_frames(before), decode_frames(after)):
            return ConflictVerdict.PIXELS_CHANGED
        same_header = _same_header(before, after)
    except (RejectedInput, OSError, MemoryError, *READING_ERRORS):
        return ConflictVerdict.UNREADABLE
    return ConflictVerdict.SAME_IMAGE if same_header else ConflictVerdict.HEADER_CORRECTED


def examine_conflicts(store: Store, audit: Audit, compare: Callable[[Path, Path], ConflictVerdict] = compare) -> int:
    """Examine the conflicts that nobody has looked at, a batch of them; return how many.

    A file that ends the process which decodes it would do so for ever: its second examination begins with the worst verdict.
    """
    found = store.conflicts(only_unexamined=True, limit=BATCH)
    for conflict in found:
        store.conclude(conflict.id, ConflictVerdict.EXAMINING if conflict.verdict is None else ConflictVerdict.UNREADABLE)
        verdict = compare(conflict.standing_path, conflict.path)
        if not store.conclude(conflict.id, verdict):
            continue
        audit.conflict_examined(conflict, verdict)
        if verdict in (ConflictVerdict.PIXELS_CHANGED, ConflictVerdict.UNREADABLE):
            LOG.error(
                "instance %s came again from %s as another image (%s): both are kept, the second is quarantined; "
                "`medsam2d quarantine list` shows it",
                conflict.sop_instance_uid,
                conflict.calling_ae_title,
                verdict.value,
            )
        else:
            LOG.info("instance %s came again: %s", conflict.sop_instance_uid, verdict.value)
    return len(found)


def _same_geometry(before: Dataset, after: Dataset) -> bool:
    return all(_plain(before.get(keyword)) == _plain(after.get(keyword)) for keyword in IMAGE_KEYWORDS)


def _same_header(before: InstanceHeader, after: InstanceHeader) -> bool:
    def said(header: InstanceHeader) -> dict[int, object]:
        return {
            int(element.tag): _plain(element.value)
            for element in header.dataset
            if element.keyword not in ENCODING_KEYWORDS and element.tag.element != 0
        }

    return said(before) == said(after)


def _plain(value: object) -> object:
    """A value whose equality means what it says: numbers by value, sequences by their items."""
    if isinstance(value, MultiValue | list | tuple):
        return tuple(_plain(one) for one in value)
    return value
