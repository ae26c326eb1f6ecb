"""The sheet of an explanation: one HTML file that needs nothing else, its pictures inside, light or dark as the reader's screen is.

It shows patient images: whoever writes it keeps it from others.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape

from daemon.explanation import (
    APPLIES,
    APPLIES_IN_SHADOW,
    ExplainedObject,
    ExplainedRule,
    ExplainedSeries,
    ExplainedVolume,
    Explanation,
    Picture,
)
from daemon.folder_study import Contest
from daemon.prompt_picture import colour_of
from daemon.version import version

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #22252b; --faint: #6a6f7a; --line: #dcd8cf; --yes: #1f7a4d; --no: #a33a2a;
  --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e6e8ec; --faint: #979dab; --line: #343841; --yes: #62c793;
  --no: #ef8a78; --card: #1c1f25; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 0; } h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .3rem 0; } .faint { color: var(--faint); } code, .uid { font: 12.5px ui-monospace, monospace; overflow-wrap: anywhere; }
.note { border-left: 3px solid var(--no); padding: .1rem .8rem; margin: .8rem 0 1.6rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.3rem 1.3rem; margin: 1.2rem 0; }
header { display: flex; gap: .4rem 1rem; flex-wrap: wrap; align-items: baseline; }
.facts { display: flex; flex-wrap: wrap; gap: 0 1.2rem; } .outcome { font-weight: 600; }
.yes { color: var(--yes); } .no { color: var(--no); }
table { border-collapse: collapse; width: 100%; font-size: 14px; } .wide { overflow-x: auto; }
td, th { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; }
ul { list-style: none; margin: .2rem 0; padding: 0; } li { padding-left: 1.4rem; text-indent: -1.4rem; }
summary { cursor: pointer; padding: .25rem 0; } details { border-bottom: 1px solid var(--line); } details ul { margin: 0 0 .6rem 1.1rem; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .8rem; } figure { margin: 0; }
figure img { display: block; width: 22rem; max-width: 100%; background: #000; border-radius: 4px; }
figcaption { font-size: 13px; color: var(--faint); }
"""


def as_html(explanation: Explanation) -> str:
    """Return the sheet."""
    return "\n".join(_page(explanation))


def _page(explanation: Explanation) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>What the rules make of this study</title><style>{STYLE}</style></head><body>"
    yield "<h1>What the rules make of this study</h1>"
    count = f"{len(explanation.series)} series, {explanation.rules} rules"
    yield f'<p class="faint">{count}; medsam2d {escape(version())}; no model was run</p>'
    yield '<p class="note">Shows images of a patient: keep it as you would keep the study. Not for diagnosis.</p>'
    for contest in explanation.contests:
        yield from _contest(contest)
    for series in explanation.series:
        yield from _series(series)
    yield "</body></html>"


def _contest(contest: Contest) -> Iterator[str]:
    yield f"<section><header><h2>Best series of the study for {escape(contest.rule)}</h2></header>"
    yield f'<p class="uid faint">study {escape(contest.study_instance_uid)}</p>'
    names = [name for name, _ in contest.ranking[0].scores]
    yield f'<div class="wide"><table><tr><th>place</th><th>series</th>{_cells("th", names)}<th></th></tr>'
    for ranked in contest.ranking:
        verdict = '<span class="yes">chosen</span>' if ranked.place == 1 else escape(ranked.reason)
        cells = _cells("td", [score for _, score in ranked.scores])
        yield f'<tr><td>{ranked.place}</td><td class="uid">{escape(ranked.key)}</td>{cells}<td>{verdict}</td></tr>'
    yield "</table></div></section>"


def _series(series: ExplainedSeries) -> Iterator[str]:
    what = f"{series.modality or 'Series'}, {series.instances} instances"
    told = f" {escape(series.description)}" if series.description else ""
    colour = "yes" if any(volume.objects for volume in series.volumes) else "no" if series.volumes else "faint"
    yield f'<section><header><h2>{escape(what)}{told}</h2><span class="outcome {colour}">{escape(series.outcome)}</span></header>'
    yield f'<p class="uid faint">{escape(series.series_instance_uid)}</p>'
    for volume in series.volumes:
        yield from _volume(volume)
    yield "</section>"


def _volume(volume: ExplainedVolume) -> Iterator[str]:
    yield f"<h3>{escape(volume.name or 'Volume')}</h3><p>{escape(volume.grid)}</p>"
    facts = " ".join(f"<span>{escape(name)} <strong>{escape(value)}</strong></span>" for name, value in volume.attributes.items())
    yield f'<p class="faint facts">{facts}</p>'
    yield f'<p class="outcome">{escape(volume.outcome)}</p>'
    if volume.objects:
        yield f"<ul>{''.join(map(_object, volume.objects))}</ul>"
    yield from _list(volume.missing)
    if volume.pictures:
        yield f'<div class="pictures">{"".join(map(_picture, volume.pictures))}</div>'
    yield "<h3>Every rule</h3>"
    yield from map(_rule, volume.rules)


def _object(item: ExplainedObject) -> str:
    red, green, blue = colour_of(item.object_id)
    swatch = f'<span class="swatch" style="background: rgb({red} {green} {blue})"></span>'
    return f"<li>{swatch}<strong>{escape(item.label)}</strong> by {escape(item.recipe)}: {escape('; '.join(item.prompts))}</li>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode("ascii")
    caption = escape(picture.caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _rule(rule: ExplainedRule) -> str:
    applies = rule.outcome in (APPLIES, APPLIES_IN_SHADOW)
    first = next((finding.words for finding in rule.findings if not finding.holds), "")
    reason = f' <span class="faint">{escape(first)}</span>' if first else ""
    colour = "yes" if applies else "no"
    head = f'<strong>{escape(rule.name)}</strong> <span class="{colour}">{escape(rule.outcome)}</span>{reason}'
    lines = "".join(_finding(finding.words, holds=finding.holds) for finding in rule.findings)
    return f"<details{' open' if applies else ''}><summary>{head}</summary><ul>{lines}</ul></details>"


def _finding(words: str, *, holds: bool) -> str:
    sign, colour = ("✓", "yes") if holds else ("✗", "no")
    return f'<li><span class="{colour}">{sign}</span>&ensp;{escape(words)}</li>'


def _list(lines: Iterable[str]) -> Iterator[str]:
    shown = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if shown:
        yield f'<ul class="faint">{shown}</ul>'


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
