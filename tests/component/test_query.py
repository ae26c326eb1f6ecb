"""C-FIND against a real archive on loopback: the count of a series, and every way in which there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicom_io.errors import PeerRejected, PeerUnreachable
from dicom_io.peer import Destination
from dicom_io.query import count_instances

Answers = list[tuple[int, Dataset | None]]


def answer(count: object) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "SERIES"
    if count is not None:
        dataset.NumberOfSeriesRelatedInstances = count
    return dataset


@contextmanager
def archive(answers: Answers, asked: list[Dataset]) -> Iterator[Destination]:
    def find(event: evt.Event) -> Iterator[Any]:
        asked.append(event.identifier)
        yield from answers

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    assert server is not None
    port = server.server_address[1]
    try:
        yield Destination(name="source", host="127.0.0.1", port=port, ae_title="ARCHIVE", calling_ae_title="MEDSAM2D")
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(0xFF00, answer(300))], 300),
        ([(0xFF00, answer(300)), (0xFF01, answer(7))], 300),
        ([(0xFF00, answer(None))], None),
        ([], None),
    ],
)
def test_the_archive_says_how_many_instances_a_series_has(answers: Answers, expected: int | None) -> None:
    asked: list[Dataset] = []
    with archive(answers, asked) as source:
        assert count_instances(source, "1.2", "1.2.3") == expected
    (query,) = asked
    assert (query.QueryRetrieveLevel, query.StudyInstanceUID, query.SeriesInstanceUID) == ("SERIES", "1.2", "1.2.3")


def test_a_refusal_is_an_error_and_no_count() -> None:
    with archive([(0xA700, None)], []) as source, pytest.raises(PeerRejected, match="got 0xA700"):
        count_instances(source, "1.2", "1.2.3")


def test_an_archive_that_is_not_there_is_unreachable() -> None:
    with archive([], []) as source:
        pass
    with pytest.raises(PeerUnreachable):
        count_instances(source, "1.2", "1.2.3")
