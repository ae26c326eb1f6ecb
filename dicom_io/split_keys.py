"""The attributes that tell one volume of a series from another, in classic instances, enhanced frames and private elements."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_io.frame_attributes import frame_group, items_of, plain_values, values_of
from dicom_io.slice_stack import SeriesFrame

_GE = "GEMS_PARM_01"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an attribute stands: in a functional group (and a sequence in it), at the root, or in a private block."""

    keyword: str = ""
    group: str = ""
    within: str = ""
    private_group: int = 0
    creator: str = ""
    offset: int = 0
    """Of the element in the block that `creator` reserved in the private group (PS3.5 7.8.1)."""


@dataclass(frozen=True, kw_only=True)
class SplitKey:
    """One attribute that may split a series."""

    name: str
    """Ends the quirk `split-by-...`."""
    label: str
    """For people, who know it by its DICOM keyword."""
    places: tuple[Place, ...]

    def value(self, frame: SeriesFrame) -> tuple[Hashable, ...]:
        """Return the frame's value: numbers, or texts; empty where nothing states it. The first place that does wins."""
        for place in self.places:
            found = _value(frame, place)
            if found:
                return found
        return ()


def _frame(group: str, keyword: str, within: str = "") -> Place:
    return Place(group=group, keyword=keyword, within=within)


def _root(keyword: str) -> Place:
    return Place(keyword=keyword)


SPLIT_KEYS: tuple[SplitKey, ...] = (
    SplitKey(
        name="image-type",
        label="ImageType",
        places=(
            _frame("MRImageFrameTypeSequence", "FrameType"),
            _frame("CTImageFrameTypeSequence", "FrameType"),
            _frame("PETFrameTypeSequence", "FrameType"),
            _root("ImageType"),
        ),
    ),
    SplitKey(name="stack", label="StackID", places=(_frame("FrameContentSequence", "StackID"),)),
    SplitKey(
        name="echo", label="EchoTime", places=(_frame("MREchoSequence", "EffectiveEchoTime"), _root("EchoTime"), _root("EchoNumbers"))
    ),
    SplitKey(
        name="b-value",
        label="DiffusionBValue",
        places=(
            _frame("MRDiffusionSequence", "DiffusionBValue"),
            _root("DiffusionBValue"),
            Place(private_group=0x0019, creator="SIEMENS MR HEADER", offset=0x0C),
            Place(private_group=0x2001, creator="Philips Imaging DD 001", offset=0x03),
            Place(private_group=0x0043, creator=_GE, offset=0x39),
        ),
    ),
    SplitKey(
        name="diffusion-direction",
        label="DiffusionGradientOrientation",
        places=(
            _frame("MRDiffusionSequence", "DiffusionGradientOrientation", "DiffusionGradientDirectionSequence"),
            _root("DiffusionGradientOrientation"),
            Place(private_group=0x0019, creator="SIEMENS MR HEADER", offset=0x0E),
        ),
    ),
    SplitKey(
        name="temporal-position",
        label="TemporalPositionIdentifier",
        places=(
            _frame("TemporalPositionSequence", "TemporalPositionTimeOffset"),
            _frame("FrameContentSequence", "TemporalPositionIndex"),
            _root("TemporalPositionIdentifier"),
        ),
    ),
    SplitKey(
        name="cardiac-phase",
        label="TriggerTime",
        places=(
            _frame("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
            _root("NominalPercentageOfCardiacPhase"),
            _root("TriggerTime"),
        ),
    ),
    SplitKey(
        name="acquisition",
        label="AcquisitionNumber",
        places=(_frame("FrameContentSequence", "FrameAcquisitionNumber"), _root("AcquisitionNumber")),
    ),
    SplitKey(
        name="inversion-time",
        label="InversionTime",
        places=(_frame("MRModifierSequence", "InversionTimes"), _root("InversionTime")),
    ),
    SplitKey(
        name="flip-angle", label="FlipAngle", places=(_frame("MRTimingAndRelatedParametersSequence", "FlipAngle"), _root("FlipAngle"))
    ),
    SplitKey(name="energy", label="KVP", places=(_frame("CTXRayDetailsSequence", "KVP"), _root("KVP"))),
    SplitKey(
        name="kernel",
        label="ConvolutionKernel",
        places=(_frame("CTReconstructionSequence", "ConvolutionKernel"), _root("ConvolutionKernel")),
    ),
    SplitKey(name="contrast", label="ContrastBolusAgent", places=(_root("ContrastBolusAgent"),)),
    SplitKey(
        name="acquisition-time",
        label="AcquisitionDateTime",
        places=(_frame("FrameContentSequence", "FrameAcquisitionDateTime"), _root("AcquisitionDateTime"), _root("AcquisitionTime")),
    ),
    SplitKey(name="content-time", label="ContentTime", places=(_root("ContentTime"),)),
)
"""In the order in which they are tried: what the protocol varied on purpose before what a clock wrote."""


def _value(frame: SeriesFrame, place: Place) -> tuple[Hashable, ...]:
    root = frame.header.dataset
    if place.creator:
        return _private(root, place)
    if not place.group:
        return values_of(root, place.keyword)
    dataset = frame_group(root, frame.frame_number, place.group)
    if dataset is root:
        return ()
    if place.within:
        items = items_of(dataset, place.within)
        return values_of(items[0], place.keyword) if items else ()
    return values_of(dataset, place.keyword)


def _private(root: Dataset, place: Place) -> tuple[Hashable, ...]:
    """A private element's numbers; General Electric adds 10**9 to b-values and follows them with others."""
    try:
        value = root.private_block(place.private_group, place.creator)[place.offset].value
    except (KeyError, ValueError, TypeError):
        return ()
    found = plain_values(value)
    return tuple(number % 1e9 for number in found[:1] if isinstance(number, float)) if place.creator == _GE else found
