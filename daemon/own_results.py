"""Loop safety: a result of ours that an archive sends back is kept and accounted for, and never segmented.

Decided at arrival, for the SOP classes that results have; images of a scanner cost nothing. Ours is what lies in our outbox's
records, what has a UID below our own registered root, or what says that this software made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import dcmread

from daemon.spool import Recording, SpooledInstance
from daemon.store import Store
from daemon.version import MODEL_NAME
from dicom_io.uids import UUID_ROOT

RESULT_SOP_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection (rejection notes)
        "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
        "1.2.840.10008.5.1.4.1.1.481.3",  # RT Structure Set
    }
)
"""What results, and their fallback forms, are made of."""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Records what arrives: images go on to their series, results of ours do not."""

    store: Store
    uid_root: str
    manufacturer: str

    def record_all(self, instances: Sequence[SpooledInstance]) -> tuple[Recording, ...]:
        """Commit the rows of instances whose files are durable, the images in one transaction; the answers in the same order."""
        reasons = [why_ours(instance, self.store.is_result, self.uid_root, self.manufacturer) for instance in instances]
        images = iter(self.store.record_instances([one for one, reason in zip(instances, reasons, strict=True) if reason is None]))
        return tuple(
            next(images) if reason is None else self.store.record_own_result(instance, reason)
            for instance, reason in zip(instances, reasons, strict=True)
        )

    def record(self, instance: SpooledInstance) -> Recording:
        """Commit the row of an instance whose file is durable; when this returns, it may be acknowledged."""
        reason = why_ours(instance, self.store.is_result, self.uid_root, self.manufacturer)
        return self.store.record_instance(instance) if reason is None else self.store.record_own_result(instance, reason)


def why_ours(instance: SpooledInstance, is_result: Callable[[str], bool], uid_root: str, manufacturer: str) -> str | None:
    """Return why an instance counts as a result of ours, None where it does not.

    `is_result` looks its SOP Instance UID up among the results that were made here.
    """
    if instance.sop_class_uid not in RESULT_SOP_CLASSES:
        return None
    if is_result(instance.sop_instance_uid):
        return "it is a result that was made here"
    if uid_root != UUID_ROOT and instance.sop_instance_uid.startswith(f"{uid_root}."):
        return f"its UID lies below our own root {uid_root}"
    header = dcmread(instance.path, stop_before_pixels=True, specific_tags=["Manufacturer", "ManufacturerModelName"])
    if header.get("Manufacturer") == manufacturer and header.get("ManufacturerModelName") == MODEL_NAME:
        return f"it says that {manufacturer} {MODEL_NAME} made it"
    return None
