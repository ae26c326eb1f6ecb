"""The model's benchmark counts what the published script would do, and compares masks where both flows were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from daemon.benchmarks.flops import counted
from daemon.benchmarks.model import Cell, ModelBenchmark, Row
from daemon.benchmarks.reference_flow import ReferenceFlow
from daemon.benchmarks.synthetic import PRESENT_LOGIT, boxes, synthetic_volume
from model.precision import Precision
from tests.unit.model.compact import compact_model

CPU = torch.device("cpu")


def _rows(*cells: Cell) -> list[Row]:
    network = compact_model(object_score=PRESENT_LOGIT)
    return list(ModelBenchmark(network, CPU, Precision.FLOAT32, side=48, whole_up_to=20).run(cells))


def test_the_reference_flow_encodes_two_slices_more_than_there_are() -> None:
    frames = synthetic_volume(9, 48)
    (box,) = boxes(1, 9, 48)
    flow = ReferenceFlow(compact_model(object_score=PRESENT_LOGIT), frames, box, (CPU, Precision.FLOAT32))
    slices = sum(1 for _ in flow.run())
    assert len(flow.times.encode) == 9 + 2
    assert slices == 9 + 1
    assert flow.visited == set(range(9))


def test_a_short_cell_is_run_to_its_end_and_a_long_one_is_summed_and_marked() -> None:
    short, long = _rows(
        Cell(slices=8, objects=2, object_slices=8),
        Cell(slices=60, objects=2, object_slices=22),
    )
    assert (short.reference_summed, long.reference_summed) == (False, True)
    assert short.masks_agree
    assert long.masks_agree
    assert (short.encodes, long.encodes) == (8, 44)
    assert long.ratio == pytest.approx(long.seconds_reference / long.seconds_engine, rel=0.05)


def test_operations_are_counted_through_products_and_attention() -> None:
    a = torch.zeros(3, 4)
    assert counted(lambda: a @ a.T) == 2 * 3 * 4 * 3
    q = torch.zeros(1, 1, 64, 8)
    with torch.no_grad():
        assert counted(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q)) == 2 * 2 * 64 * 64 * 8


def test_made_up_objects_lie_on_slices_of_their_own() -> None:
    assert [box.frame for box in boxes(5, 300, 512)] == [30, 90, 150, 210, 270]
    assert synthetic_volume(3, 32).dtype == np.uint8
