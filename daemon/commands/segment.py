"""`medsam2d segment`: the same pipeline on a folder of DICOM, or on a research volume, without the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from daemon.arrays import is_array_file, read_arrays, write_arrays
from daemon.config import Config, ResultSettings
from daemon.errors import ConfigError
from daemon.folder_study import contests, is_input_alone, read_folder, readable_requests, request_for
from daemon.models import ResidentModels, resident_models
from daemon.overlay_sheet import overlay_of
from daemon.pipeline import Segmented, segment_series
from daemon.planning import Skipped
from daemon.refusals import Refusal
from daemon.stages import Stages
from daemon.store import NOT_SELECTED
from daemon.tools import Tools
from daemon.weights import WeightsBook, WeightsEntry
from daemon.written import WrittenObject
from dicom_io.errors import RejectedInput
from dicom_io.geometry import voxel_volume_mm3
from model.options import PropagationOptions
from model.prompt import BoxPrompt, Prompt, check_prompts
from rules.load import load_rules
from rules.rule import RuleSet

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SegmentRequest:
    """What the command line asked for."""

    source: Path
    out: Path
    boxes: tuple[BoxPrompt, ...]
    window: tuple[float, float] | None
    options: PropagationOptions
    overlay: bool


@dataclass(frozen=True, kw_only=True)
class SeriesReport:
    """What became of one series or volume, as `--json` prints it."""

    series_instance_uid: str
    outcome: str
    """segmented, skipped, refused, or input: a series of annotation objects, which prompt others and are no image."""
    code: str
    reasons: tuple[str, ...]
    result: str
    segments: tuple[dict[str, object], ...]
    seconds: dict[str, float]


def options(*, reference: bool, no_stop: bool, logits: bool) -> PropagationOptions:
    """Return how to propagate, from the command line's switches."""
    return PropagationOptions(reference=reference, stop_after_empty_frames=None if no_stop or reference else 3, keep_logits=logits)


def models_for(settings: Config, weights: str | None, device: str) -> ResidentModels:
    """Return the models, with `weights` (a name, or a file that the caller vouches for by naming it) as the default.

    Raises `UnknownWeights` or `UntrustedWeights`.
    """
    models = resident_models(settings, default=weights, device=device)
    file = Path(weights or "")
    if weights is None or weights in models.book.entries or not file.is_file():
        models.book.find(models.default)
        return models
    entry = WeightsEntry(name=weights, file=file, sha256=None, licence="", intended_use="", source="command line")
    return replace(models, book=WeightsBook(entries={**models.book.entries, weights: entry}))


def run(
    request: SegmentRequest, rules: Path | None, settings: Config, models: ResidentModels, progress: Progress
) -> tuple[SeriesReport, ...]:
    """Segment what `request.source` holds. Raises `ConfigError` where it does not exist or rules are needed and absent."""
    if not request.source.exists():
        raise ConfigError(f"{request.source}: no such file or folder")
    if is_array_file(request.source):
        return (segment_arrays(request, models, progress),)
    if rules is None:
        raise ConfigError(f"{request.source} is DICOM: give --rules FILE, which says what its series' targets are")
    return segment_folder(request, load_rules([rules]), settings.result, models, progress)


def segment_arrays(request: SegmentRequest, models: ResidentModels, progress: Progress) -> SeriesReport:
    """Segment an .npz, NIfTI or NRRD file and write the masks to `request.out`.

    Raises `RejectedArrays` or `ConfigError`.
    """
    stages = Stages()
    with stages("read"):
        source = read_arrays(request.source, request.window)
    prompts = (*source.prompts, *_renumbered(request.boxes, source.prompts))
    if not prompts:
        raise ConfigError(
            f"{request.source.name} holds no prompt; give `boxes`, `points` or `masks` in it, or --box k,left,top,right,bottom"
        )
    try:
        check_prompts(prompts, len(source.frames), (source.frames.shape[1], source.frames.shape[2]))
    except ValueError as error:
        raise ConfigError(f"--box: {error}") from error
    with stages("load weights"):
        segmenter = models.segmenter(None)
    with stages("segment"):
        result = segmenter.segment(source.frames, prompts, request.options, progress)
    with stages("write"):
        request.out.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(request.out, result, source)
    segments: tuple[dict[str, object], ...] = tuple(
        {"object": item.object_id, "voxels": int(item.mask.sum()), "predicted_iou": _best(item.iou)} for item in result.objects
    )
    return SeriesReport(
        series_instance_uid="", outcome="segmented", code="", reasons=(), result=str(request.out), segments=segments, seconds=stages.seconds
    )


def segment_folder(
    request: SegmentRequest, ruleset: RuleSet, settings: ResultSettings, models: ResidentModels, progress: Progress
) -> tuple[SeriesReport, ...]:
    """Segment every series of a DICOM folder (or file) that a rule matches; each SEG goes to the folder `request.out`.

    Annotation objects in the folder prompt the series of their study where a rule asks for them; segments of earlier studies of
    the same patient prompt later ones (`prior`).

    Raises `NotDicom` if there is no DICOM instance at all.
    """
    groups = read_folder(request.source)
    held = contests(list(readable_requests(groups)), ruleset) if any(rule.select for rule in ruleset.rules) else ()
    request.out.mkdir(parents=True, exist_ok=True)
    reports = []
    for uid, headers in groups.items():
        if is_input_alone(headers):
            reports.append(_nothing(uid, "input", "", (f"{len(headers)} annotation objects, for series whose rule asks for them",)))
            continue
        passed_over = next((reason for contest in held if (reason := contest.reason_against(uid))), None)
        if passed_over is not None:
            reports.append(_nothing(uid, "skipped", NOT_SELECTED, (passed_over,)))
            continue
        stages = Stages()
        tools = Tools(ruleset=ruleset, models=models, result=settings, stage=stages, progress=progress, options=request.options)
        try:
            for outcome in segment_series(request_for(headers, groups, boxes=request.boxes), tools):
                reports.append(_reported(uid, outcome, request, stages))
        except RejectedInput as error:
            reports.append(_nothing(uid, "refused", error.code, (str(error),)))
    return tuple(reports)


def as_json(reports: Sequence[SeriesReport]) -> str:
    """Return the reports as one line of JSON."""
    return json.dumps({"series": [vars(report) for report in reports]})


def as_text(reports: Sequence[SeriesReport]) -> str:
    """Return the reports as lines for a terminal."""
    lines = []
    for report in reports:
        lines.append(f"{report.series_instance_uid or 'volume'}: {report.outcome}" + (f" [{report.code}]" if report.code else ""))
        lines += [f"  {reason}" for reason in report.reasons]
        for segment in report.segments:
            lines.append("  " + ", ".join(f"{name} {value}" for name, value in segment.items() if value not in ([], None)))
        if report.result:
            lines.append(f"  -> {report.result}  ({sum(report.seconds.values()):.1f} s)  AI result, not for diagnosis")
    return "\n".join(lines)


def _write(outcome: Segmented, request: SegmentRequest) -> Path:
    """Write every object, and the picture that was asked for; return the file of the first one."""
    first = _write_objects(outcome.written, request)
    if request.overlay:
        first.with_suffix(".png").write_bytes(overlay_of(outcome))
    return first


def _write_objects(objects: Sequence[WrittenObject], request: SegmentRequest) -> Path:
    paths = []
    for written in objects:
        path = request.out / f"{written.kind.value}-{written.sop_instance_uid}.dcm"
        partial = path.with_suffix(".part")
        partial.write_bytes(written.part10)
        partial.replace(path)
        paths.append(path)
    return paths[0]


def _report(uid: str, outcome: Segmented, path: Path, stages: Stages) -> SeriesReport:
    millilitres = voxel_volume_mm3(outcome.volume.affine) / 1000.0
    verdicts = {verdict.object_id: verdict for verdict in outcome.verdicts}
    segments: tuple[dict[str, object], ...] = tuple(
        {
            "label": item.label,
            "volume_ml": round(float(result.mask.sum()) * millilitres, 3),
            "predicted_iou": _best(result.iou),
            "verdict": verdicts[item.object_id].decision.value,
            "reasons": list(verdicts[item.object_id].reasons),
        }
        for item, result in zip(outcome.objects.prompted, outcome.objects.results, strict=True)
    )
    return SeriesReport(
        series_instance_uid=uid,
        outcome="segmented",
        code="",
        reasons=outcome.missing,
        result=str(path),
        segments=segments,
        seconds={name: round(seconds, 3) for name, seconds in stages.seconds.items()},
    )


def _reported(uid: str, outcome: Skipped | Refusal | Segmented, request: SegmentRequest, stages: Stages) -> SeriesReport:
    """What became of one volume of a series; its result is written."""
    if isinstance(outcome, Segmented):
        return _report(uid, outcome, _write(outcome, request), stages)
    if outcome.written:
        _write_objects(outcome.written, request)
    if isinstance(outcome, Refusal):
        return _nothing(uid, "refused", outcome.error.code, (str(outcome.error),))
    return _nothing(uid, "skipped", "", outcome.reasons)


def _nothing(uid: str, outcome: str, code: str, reasons: tuple[str, ...]) -> SeriesReport:
    return SeriesReport(series_instance_uid=uid, outcome=outcome, code=code, reasons=reasons, result="", segments=(), seconds={})


def _renumbered(boxes: Sequence[BoxPrompt], prompts: Sequence[Prompt]) -> tuple[BoxPrompt, ...]:
    taken = max((prompt.object_id for prompt in prompts), default=0)
    return tuple(replace(box, object_id=taken + number) for number, box in enumerate(boxes, start=1))


def _best(iou: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float | None:
    return None if np.isnan(iou).all() else round(float(np.nanmedian(iou)), 4)
