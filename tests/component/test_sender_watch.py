"""Associations are noted when they begin and forgotten when they end, however they end."""

from __future__ import annotations

import pytest

from daemon.sender_watch import SenderWatch, each_of
from daemon.store import StoreUnavailable
from dicom_io.association_log import AssociationEvent, AssociationEventKind
from tests.component.store_site import Site, worker


def event(kind: AssociationEventKind, title: str = "SCANNER") -> AssociationEvent:
    return AssociationEvent(kind=kind, calling_ae_title=title, called_ae_title="MEDSAM2D", peer_address="192.0.2.1")


@pytest.mark.parametrize("end", [AssociationEventKind.RELEASED, AssociationEventKind.ABORTED])
def test_a_sender_is_sending_until_its_last_association_ends(site: Site, end: AssociationEventKind) -> None:
    watch = each_of(SenderWatch(site.store, worker()))
    for kind in (AssociationEventKind.ASSOCIATED, AssociationEventKind.ASSOCIATED, end):
        watch(event(kind))
    assert site.store.sending() == {"SCANNER"}
    watch(event(end))
    assert site.store.sending() == frozenset()
    watch(event(end))


def test_a_rejected_association_is_none(site: Site) -> None:
    SenderWatch(site.store, worker())(event(AssociationEventKind.REJECTED))
    assert site.store.sending() == frozenset()


def test_a_store_that_cannot_be_written_ends_no_association(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> str:
        raise StoreUnavailable("down")

    monkeypatch.setattr(site.store, "association_opened", unavailable)
    watch = SenderWatch(site.store, worker())
    watch(event(AssociationEventKind.ASSOCIATED))
    watch(event(AssociationEventKind.RELEASED))
