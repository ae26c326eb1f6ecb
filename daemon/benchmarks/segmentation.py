"""Benchmark of writing segmentations: written and checked, beside highdicom's own construction and saving of the same masks."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from daemon.benchmarks.labelled_study import made_up_identity, made_up_segment
from dicom_io.codes import Code
from dicom_io.quiet import without_pydicom_warnings
from dicom_io.segmentation import SegmentDescription, write_segmentation
from dicom_io.segmentation_check import check_segmentation
from dicom_io.segmentation_source import read_source_headers
from dicom_io.synthesis import write_ct_series
from dicom_io.volume import SourceFrame, Volume

MEBIBYTE = 2**20
LIVER = Code(value="10200004", scheme="SCT", meaning="Liver")


@dataclass(frozen=True, kw_only=True)
class SegmentationTimes:
    """Medians of several runs in one process, seconds; memory is the highest above the arrays that were given."""

    slices: int
    size: int
    targets: int
    frames: int
    megabytes: float
    seconds_write: float
    seconds_check: float
    seconds_highdicom: float
    mebibytes_above_arrays: float

    @property
    def seconds(self) -> float:
        """To write and check."""
        return self.seconds_write + self.seconds_check

    @property
    def ratio(self) -> float:
        """Of writing and checking to highdicom's writing alone."""
        return self.seconds / self.seconds_highdicom


def measure_segmentation(slices: int = 300, size: int = 512, targets: int = 10, repeats: int = 3) -> SegmentationTimes:
    """Measure ellipsoids that keep apart on a CT of `slices` x `size` x `size`; files are in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="medsam2d-bench-") as folder:
        volume = _volume(Path(folder), slices, size)
        masks = _masks(slices, size, targets)
        segments = [made_up_segment(number, f"target {number}", LIVER) for number in range(1, targets + 1)]
        part10, _, _ = _run(volume, masks, segments)  # codes and templates are read at the first use
        before = _reset_peak()
        runs = [_run(volume, masks, segments) for _ in range(repeats)]
        above = _peak() - before
        plain = [_plain(volume, masks) for _ in range(repeats)]
    return SegmentationTimes(
        slices=slices,
        size=size,
        targets=targets,
        frames=int(pydicom.dcmread(io.BytesIO(part10), stop_before_pixels=True).NumberOfFrames),
        megabytes=len(part10) / 1e6,
        seconds_write=statistics.median(write for _, write, _ in runs),
        seconds_check=statistics.median(check for _, _, check in runs),
        seconds_highdicom=statistics.median(plain),
        mebibytes_above_arrays=above / MEBIBYTE,
    )


def _run(volume: Volume, masks: list[NDArray[np.bool_]], segments: list[SegmentDescription]) -> tuple[bytes, float, float]:
    begin = time.perf_counter()
    headers = read_source_headers(volume)
    part10 = write_segmentation(volume, masks, segments, made_up_identity(), headers=headers)
    written = time.perf_counter()
    check_segmentation(part10, volume, masks, segments, headers)
    return part10, written - begin, time.perf_counter() - written


@without_pydicom_warnings()
def _plain(volume: Volume, masks: list[NDArray[np.bool_]]) -> float:
    """Seconds that highdicom takes for the same object from the same files, in its quickest way: one label a voxel."""
    labels = np.zeros(volume.voxels.shape, np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    algorithm = hd.AlgorithmIdentificationSequence(name="x", family=codes.cid7162.ArtificialIntelligence, version="1")
    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"target {number}",
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number in range(1, len(masks) + 1)
    ]
    begin = time.perf_counter()
    sources = [pydicom.dcmread(source.path, stop_before_pixels=True) for source in volume.sent if source.path is not None]
    written = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    )
    written.save_as(io.BytesIO())
    return time.perf_counter() - begin


def _volume(folder: Path, slices: int, size: int) -> Volume:
    affine = np.array([[0.0, 0.0, 0.7, -180.0], [0.0, 0.7, 0.0, -180.0], [1.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    paths = write_ct_series(folder, np.zeros((slices, size, size), np.int16), affine)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    sources = tuple(
        SourceFrame(path=path, sop_class_uid=str(header.SOPClassUID), sop_instance_uid=str(header.SOPInstanceUID))
        for path, header in zip(paths, headers, strict=True)
    )
    return Volume(
        voxels=np.zeros((slices, size, size), np.float32),
        affine=affine,
        frame_of_reference_uid=str(headers[0].FrameOfReferenceUID),
        sources=sources,
    )


def _masks(slices: int, size: int, targets: int) -> list[NDArray[np.bool_]]:
    """Ellipsoids of two fifths of the slices each, spread along all axes; later ones leave out what earlier ones have."""
    k, j, i = np.ogrid[:slices, :size, :size]
    taken = np.zeros((slices, size, size), np.bool_)
    masks = []
    for number in range(targets):
        part = (number + 0.5) / targets
        centre = (slices * (0.12 + 0.76 * part), size * (0.3 + 0.4 * part), size * (0.75 - 0.5 * part))
        radius = (slices * 0.2, size * 0.09, size * 0.1)
        distance = ((k - centre[0]) / radius[0]) ** 2 + ((j - centre[1]) / radius[1]) ** 2 + ((i - centre[2]) / radius[2]) ** 2
        mask = (distance < 1.0) & ~taken
        taken |= mask
        masks.append(mask)
    return masks


def _reset_peak() -> int:
    """Forget the highest memory so far (Linux, proc(5)); return the memory of now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _peak() -> int:
    return _memory("VmHWM")


def _memory(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024
