"""The benchmark of the receiver runs from end to end, so that it is there when someone needs its figures."""

from __future__ import annotations

from daemon.benchmarks.receiver import OURS, measure_throughput, table


def test_our_listener_is_measured_beside_the_one_on_pynetdicoms_data_path() -> None:
    names = [OURS, "medsam2d, pynetdicom's data path"]
    rates = measure_throughput([2], 8, 1, names, lambda _line: None)
    assert [rate.receiver for rate in rates] == names
    assert all(rate.images_per_second > 0 and rate.cpu_milliseconds_per_image > 0 and rate.pss_mib > 0 for rate in rates)
    assert len(list(table(rates))) == 3
