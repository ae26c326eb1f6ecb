"""Why DICOM data or a DICOM peer was turned down: typed reasons with a stable code.

Two questions decide what becomes of an error: whose fault is it, and does a retry help?
`RejectedInput` blames the data (no retry); `PeerError` blames the network or the peer (retry later).
Every leaf has a stable `code`, which audit records, the command line and the troubleshooting page use.
"""

from __future__ import annotations

from typing import ClassVar


class DicomError(Exception):
    """Base of all errors of this package; the message names expected, got and the cure."""

    code: ClassVar[str] = "dicom-error"


class RejectedInput(DicomError):
    """The data can never be processed as they are; a retry does not help."""

    code = "rejected-input"


class NotDicom(RejectedInput):
    """The bytes are not a DICOM data set, or lack an attribute that identifies an instance."""

    code = "not-dicom"


class DataSetMismatch(RejectedInput):
    """The data set is not the object that the C-STORE command names."""

    code = "data-set-mismatch"


class NoPixels(RejectedInput):
    """The instance holds no pixel data (a report, a presentation state, a plan)."""

    code = "no-pixels"


class UndecodablePixels(RejectedInput):
    """The pixel data are truncated, corrupt, or in a transfer syntax without a decoder."""

    code = "undecodable-pixels"


class NotAVolume(RejectedInput):
    """The instances do not form one regular volume in patient space."""

    code = "not-a-volume"


class SeveralVolumes(NotAVolume):
    """The series holds several volumes where one was asked for."""

    code = "several-volumes"


class TooManyVolumes(RejectedInput):
    """The series holds more volumes than anyone wants segmented each."""

    code = "too-many-volumes"


class NoSuv(RejectedInput):
    """A PET volume has no standardised uptake values, which the rule's windows or thresholds are meant in."""

    code = "no-suv"


class MissingGeometry(NotAVolume):
    """Position, orientation or spacing is absent, so voxels have no place in the patient."""

    code = "missing-geometry"


class MixedGeometry(NotAVolume):
    """Orientation, matrix or pixel spacing differ within the series."""

    code = "mixed-geometry"


class DuplicatePositions(NotAVolume):
    """Two instances claim the same place (several phases, echoes or reconstructions)."""

    code = "duplicate-positions"


class UnevenSpacing(NotAVolume):
    """Slices are missing or unevenly spaced."""

    code = "uneven-spacing"


class GantryTilt(NotAVolume):
    """Slices step more aside than along their normal: steeper than any gantry tilts."""

    code = "gantry-tilt"


class TooFewSlices(NotAVolume):
    """Single slices beside others, or a single slice without a thickness."""

    code = "too-few-slices"


class InvalidResult(DicomError):
    """The object that was written does not say what was meant; it must not leave the house."""

    code = "invalid-result"


class InvalidSegmentation(InvalidResult):
    """A segmentation object that is not what was meant, or that cannot be made."""

    code = "invalid-segmentation"


class InvalidReport(InvalidResult):
    """A report that is not what was meant."""

    code = "invalid-report"


class InvalidOverlay(InvalidResult):
    """A picture that is not what was meant."""

    code = "invalid-overlay"


class PortUnavailable(DicomError):
    """The listener cannot have its port: another process listens there, or it is not ours to take."""

    code = "port-unavailable"


class UnusableCertificate(DicomError):
    """A certificate, key or list of authorities cannot be used; TLS cannot be offered with it."""

    code = "unusable-certificate"


class PeerError(DicomError):
    """The peer could not be reached or did not accept; a retry may help."""

    code = "peer-error"
    results: tuple[object, ...] = ()
    """The `dicom_io.sender.SendResult` of every file that the peer stored before, or beside, the failure."""


class PeerUnreachable(PeerError):
    """No connection, or it broke before an answer."""

    code = "peer-unreachable"


class PeerRejected(PeerError):
    """The peer refused the association, the SOP class or the transfer syntax."""

    code = "peer-rejected"


class ContextsRefused(PeerRejected):
    """The peer takes none of the SOP classes and transfer syntaxes that were proposed."""

    code = "contexts-refused"


class CommitmentRefused(PeerError):
    """The peer answered a request for storage commitment with a failure, or offers none."""

    code = "commitment-refused"


class QueryRefused(PeerError):
    """The peer does not answer our C-FIND."""

    code = "query-refused"


class StoreRefused(PeerError):
    """The peer answered a C-STORE with a failure status."""

    code = "store-refused"


class UnusableAnnotation(RejectedInput):
    """An annotation object, or one item of it, that cannot become a place in the patient."""

    code = "unusable-annotation"


class MalformedAnnotation(UnusableAnnotation):
    """The item breaks its own object's rules: wrong number of coordinates, an unknown graphic, a missing attribute."""

    code = "malformed-annotation"


class UnplacedAnnotation(UnusableAnnotation):
    """The item is sound, but what would give it a place (its image, its segmentation) is not at hand."""

    code = "unplaced-annotation"


class AnnotationElsewhere(UnusableAnnotation):
    """The annotation has a place, but not on this volume: another frame of reference, or outside of the image."""

    code = "annotation-elsewhere"
