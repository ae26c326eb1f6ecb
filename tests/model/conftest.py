"""The full-size network with the synthetic golden weights, built once; its feature cache is shared by all cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.config import MedSAM2Config
from model.medsam2 import MedSAM2
from model.segmenter import Segmenter
from tests.model.golden_cases import Inputs
from tests.model.golden_weights import golden_state


@pytest.fixture(scope="package", autouse=True)
def threads_of_the_reference() -> Iterator[None]:
    """Two threads where torch runs AVX2 kernels, as the stored outputs were made: another number adds up in another order.

    The hardest case magnifies such a last bit beyond its tolerance. Other kernels round otherwise whatever the number; there one
    thread does, since a thread pool that waits for a busy core costs several times what a second core gains.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2 if torch.backends.cpu.get_cpu_capability() == "AVX2" else 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden_tensors() -> dict[str, Tensor]:
    """The weights by key; their checksum proves that the network has the official keys and shapes."""
    shapes = {key: tuple(value.shape) for key, value in MedSAM2(MedSAM2Config()).state_dict().items()}
    return golden_state(shapes)


@pytest.fixture(scope="session")
def golden_model(golden_tensors: dict[str, Tensor]) -> MedSAM2:
    """The network with those weights."""
    model = MedSAM2(MedSAM2Config())
    model.load_state_dict(golden_tensors, strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def golden_segmenter(golden_model: MedSAM2) -> Segmenter:
    """A segmenter around it."""
    return Segmenter(golden_model, "cpu", "golden")


@pytest.fixture(scope="session")
def golden_folder(shared_folder: Path) -> Path:
    """The reference's stored outputs."""
    folder = shared_folder / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden outputs at {folder}")
    return folder


@pytest.fixture(scope="session")
def golden_inputs(golden_folder: Path) -> Inputs:
    """The volume and prompts behind them."""
    return Inputs(golden_folder)
