"""The status page in a real browser: what a person sees, in light and dark, and that it keeps itself fresh."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from daemon.audit import open_audit
from daemon.audit_chain import records
from daemon.config import Config
from daemon.job_states import JobState
from daemon.web.actions import actions_of
from daemon.web.pages import Alarm
from daemon.web.server import views_of
from tests.component.delivery_site import finished, item
from tests.component.store_site import Site, claimed, new_site, queued
from tests.component.test_web import settings
from tests.component.web_site import served

__all__ = ["settings"]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"
pytestmark = pytest.mark.skipif(BROWSER is None, reason="not installed: chromium (apt-get install chromium)")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path)


def browse(url: str, *arguments: str, profile: Path) -> str:
    """What a headless browser prints; it stops by itself."""
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}", *arguments, url]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def busy(site: Site) -> Site:
    """A store with something of everything."""
    finished(site, item(site, 1), item(site, 2, "research"))
    queued(site, series="2.25.17")
    site.store.fail(claimed(site), "gate-failure", "seg 2.25.4: expected the voxels that were meant, got 12 others", 1)
    queued(site, series="2.25.18")
    site.store.refuse(claimed(site), "uneven-spacing", "the slices are unevenly spaced: usually 2.500 mm apart, but 5.000 mm in one place")
    queued(site, series="2.25.19")
    site.store.fail(claimed(site), "worker-died", "the worker's process ended without a word, 3 times", 1)
    queued(site, series="2.25.20")
    return site


@pytest.mark.parametrize(
    ("scheme", "is_dark"), [("--blink-settings=preferredColorScheme=1", False), ("--blink-settings=preferredColorScheme=0", True)]
)
def test_the_overview_is_drawn_in_the_colours_that_the_person_prefers(
    scheme: str, is_dark: bool, site: Site, settings: Config, tmp_path: Path
) -> None:
    picture = tmp_path / "overview.png"
    with served(views_of(settings, busy(site).store, site.clock)) as url:
        browse(url, scheme, f"--screenshot={picture}", "--window-size=1280,1100", profile=tmp_path / "profile")
    with Image.open(picture) as image:
        assert image.size == (1280, 1100)
        red, green, blue = image.convert("RGB").getpixel((5, 900))  # type: ignore[misc]  # the ground beside the columns
        assert (red + green + blue < 3 * 64) == is_dark
        colours = image.convert("RGB").getcolors(1280 * 1100)
        assert colours is not None
        assert len(colours) > 50, "text and cards are drawn"


HAND = """
const look = setInterval(() => {
  const alarms = document.querySelector(".alarms");
  if (alarms && alarms.textContent.includes("look 2")) { clearInterval(look); document.querySelector('nav a[href="/quarantine"]').click(); }
}, 500);
if (location.pathname === "/quarantine" && !location.search) document.querySelector('button[aria-label="Try again: job 2"]').click();
"""
"""Waits until the page has renewed itself, goes to the quarantine and presses a button there."""


def test_the_page_keeps_itself_fresh_and_its_buttons_work_as_a_browser_sends_forms(site: Site, settings: Config, tmp_path: Path) -> None:
    audit = open_audit(tmp_path / "audit", site.clock)
    views = views_of(settings, busy(site).store, site.clock, actions_of(settings, site.store, audit))
    looks = itertools.count(1)
    counted = replace(views, overview=lambda: replace(views.overview(), alarms=(Alarm(tone="warning", text=f"look {next(looks)}"),)))
    with served(counted, hand=HAND) as url:
        page = browse(url, "--dump-dom", "--virtual-time-budget=35000", profile=tmp_path / "profile")
    text = re.sub(r"<[^>]+>", " ", page)
    assert "Job 2 is queued and will be tried again." in text
    assert "[worker-died] the worker's process ended without a word" in text, "what is still in quarantine"
    assert site.store.job(2).state is JobState.QUEUED
    assert [record.event for record in records(tmp_path / "audit")] == ["job-released"], "once, though the page renews itself"
