"""The content tree of a structured report: items, concept names, and references from one item to another (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pydicom.dataset import Dataset

from dicom_io.annotations.annotation import ImageReference
from dicom_io.annotations.reading import code, references
from dicom_io.codes import Code
from dicom_io.errors import MalformedAnnotation
from dicom_io.frame_attributes import items_of, numbers
from dicom_io.values import text_of

MAXIMUM_DEPTH = 30
"""Deeper trees are damaged or hostile; TID 1500 needs 8."""
MAXIMUM_VISITS = 1_000_000
"""Items that are looked at in one report: references from item to item can make a small file an endless walk."""

ConceptSet = frozenset[tuple[str, str]]
"""(value, scheme) of one concept in today's and older coding schemes."""


def concepts(*codes: tuple[str, str]) -> ConceptSet:
    """Return the set of (value, scheme) that all mean one concept."""
    return frozenset(codes)


# Legacy SRT codes stand beside their SCT successors: archives are full of both.
MEASUREMENT_GROUP = concepts(("125007", "DCM"))
IMAGE_LIBRARY = concepts(("111028", "DCM"))
TRACKING_IDENTIFIER = concepts(("112039", "DCM"))
TRACKING_UID = concepts(("112040", "DCM"))
FINDING = concepts(("121071", "DCM"))
FINDING_SITE = concepts(("363698007", "SCT"), ("G-C0E3", "SRT"), ("G-C0E3", "SNM3"))
IMAGE_REGION = concepts(("111030", "DCM"))
VOLUME_SURFACE = concepts(("121231", "DCM"))
REFERENCED_SEGMENT = concepts(("121191", "DCM"))
REFERENCED_SEGMENTATION_FRAME = concepts(("121214", "DCM"))
LONG_AXIS = concepts(("103339001", "SCT"), ("G-A185", "SRT"))
SHORT_AXIS = concepts(("103340004", "SCT"), ("G-A186", "SRT"))
AREA = concepts(("42798000", "SCT"), ("G-A166", "SRT"))
PERSON_OBSERVER = concepts(("121008", "DCM"))
DEVICE_OBSERVER = concepts(("121013", "DCM"))
ALGORITHM_NAME = concepts(("111001", "DCM"))


@dataclass(kw_only=True)
class Visits:
    """Counts the items of one report that were looked at."""

    left: int = MAXIMUM_VISITS

    def spend(self, items_below: int) -> None:
        """Raise MalformedAnnotation when more were looked at than any report needs."""
        self.left -= items_below
        if self.left < 0:
            raise MalformedAnnotation(f"expected a report of at most {MAXIMUM_VISITS} items, got one that refers to itself over and over")


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentItem:
    """One item of the tree; `path` is its identifier, 1-based, the root is (1,) (PS3.3 C.17.3.2.5)."""

    dataset: Dataset
    path: tuple[int, ...]
    root: Dataset
    visits: Visits
    above: tuple[tuple[int, ...], ...] = ()
    """Identifiers of the items on the way here."""

    @cached_property
    def concept(self) -> Code | None:
        """The concept name."""
        return code(self.dataset, "ConceptNameCodeSequence")

    def means(self, wanted: ConceptSet) -> bool:
        """Whether the concept name is one of a set."""
        return self.concept is not None and (self.concept.value, self.concept.scheme) in wanted

    @property
    def value_type(self) -> str:
        """CONTAINER, NUM, SCOORD ..."""
        return text_of(self.dataset, "ValueType")

    @cached_property
    def children(self) -> list[ContentItem]:
        """The items below, by-reference ones resolved to what they stand for. Raises MalformedAnnotation for a tree without end."""
        if len(self.above) > MAXIMUM_DEPTH:
            raise MalformedAnnotation(f"expected a report of at most {MAXIMUM_DEPTH} levels, got more; export it again")
        below = items_of(self.dataset, "ContentSequence")
        self.visits.spend(len(below))
        return [child for number, item in enumerate(below, start=1) for child in self._resolved(item, (*self.path, number))]

    def _resolved(self, item: Dataset, path: tuple[int, ...]) -> list[ContentItem]:
        identifier = tuple(int(number) for number in numbers(item, "ReferencedContentItemIdentifier"))
        found: Dataset = self.root if identifier else item
        for number in identifier[1:]:
            below = items_of(found, "ContentSequence")
            if not 1 <= number <= len(below):
                return []
            found = below[number - 1]
        above = (*self.above, self.path)
        # An item that refers to one that it hangs from would be walked for ever.
        if identifier in above:
            return []
        return [ContentItem(dataset=found, path=identifier or path, root=self.root, visits=self.visits, above=above)]

    def below(self) -> Iterator[ContentItem]:
        """Every item below, depth first."""
        for child in self.children:
            yield child
            yield from child.below()

    def first(self, wanted: ConceptSet) -> ContentItem | None:
        """The first child of a concept."""
        return next((child for child in self.children if child.means(wanted)), None)

    @property
    def text(self) -> str:
        """The value of TEXT, UIDREF and PNAME items, the meaning of a CODE."""
        written = text_of(self.dataset, "TextValue") or text_of(self.dataset, "UID") or text_of(self.dataset, "PersonName")
        return written or (self.coded.meaning if self.coded else "")

    @property
    def coded(self) -> Code | None:
        """The value of a CODE item."""
        return code(self.dataset, "ConceptCodeSequence")

    @property
    def images(self) -> tuple[ImageReference, ...]:
        """The images that an IMAGE item stands for."""
        return references(items_of(self.dataset, "ReferencedSOPSequence"))


def root_of(dataset: Dataset) -> ContentItem:
    """Return the root container of a report."""
    return ContentItem(dataset=dataset, path=(1,), root=dataset, visits=Visits())


def words_of(item: ContentItem, wanted: ConceptSet) -> str:
    """Return the text of a child, empty where there is none."""
    found = item.first(wanted)
    return "" if found is None else found.text


def code_of(item: ContentItem, wanted: ConceptSet) -> Code | None:
    """Return the coded value of a child."""
    found = item.first(wanted)
    return None if found is None else found.coded
