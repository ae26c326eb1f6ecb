"""The dependency audit: is a vulnerability known of any version that constraints.txt pins?

`make audit` runs it. pip-audit ends with 0 and "No known vulnerabilities found" also where its service knew none of the packages, as
behind a mirror of PyPI that has no vulnerability data; here a package that nobody looked up is a failure of its own.

Exit codes: 0 every pinned version was looked up and nothing is known of it, 1 something is known, 2 not everything could be looked up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 2
PINS = Path(__file__).resolve().parents[2] / "constraints.txt"
SHOWN = 5
ELSEWHERE = "run it where the service can be reached, or give sbom.json (`make sbom`) to a scanner that has its own data"


@dataclass(frozen=True, kw_only=True)
class AuditVerdict:
    """What came of an audit: the exit code, and lines for people."""

    exit_code: int
    lines: tuple[str, ...]


def judge(report: Mapping[str, Any] | None, service: str, complaint: str = "") -> AuditVerdict:
    """Return the verdict of pip-audit's JSON report; None where it gave none, `complaint` is what it said then."""
    if report is None:
        return AuditVerdict(exit_code=NOT_AUDITED, lines=(f"NOT AUDITED: no answer from {service} ({complaint}); {ELSEWHERE}",))
    packages = report["dependencies"]
    looked_up = [package for package in packages if "skip_reason" not in package]
    skipped = [package for package in packages if "skip_reason" in package]
    known = [f"{one['name']} {one['version']}: {_told(vulnerability)}" for one in looked_up for vulnerability in one["vulns"]]
    lines = [
        f"{len(looked_up)} of {len(packages)} pinned versions were looked up at {service}; vulnerabilities known: {len(known)}",
        *known,
    ]
    if skipped or not packages:
        names = [package["name"] for package in skipped]
        some = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        lines.append(f"NOT AUDITED: {service} knows nothing of {some or 'anything'}; {ELSEWHERE}")
    code = VULNERABLE if known else NOT_AUDITED if skipped or not packages else CLEAN
    return AuditVerdict(exit_code=code, lines=tuple(lines))


def main() -> int:
    """Run pip-audit over the pins, print the verdict, return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tool", type=Path, help="the program pip-audit")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    options = parser.parse_args()
    switches = ["--progress-spinner", "off", "--disable-pip", "--no-deps", "--format", "json"]
    command = [str(options.tool), *switches, "--vulnerability-service", options.service, "--requirement", str(PINS)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(ended.stdout)
    except json.JSONDecodeError:
        report = None
    last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
    verdict = judge(report, options.service, last[0])
    sys.stdout.writelines(f"{line}\n" for line in verdict.lines)
    return verdict.exit_code


def _told(vulnerability: Mapping[str, Any]) -> str:
    cured = ", ".join(vulnerability["fix_versions"]) or "no version yet"
    return f"{vulnerability['id']}, cured in {cured}"


if __name__ == "__main__":
    sys.exit(main())
