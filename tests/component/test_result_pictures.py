"""Pictures of results: the worker draws them, the page of the job shows them with the verdicts, and they cost no result."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from daemon.config import Config, FolderSettings, WebSettings
from daemon.job_states import JobState
from daemon.listener_settings import ListenerSettings
from daemon.result_pictures import ResultPictures
from daemon.web.app import application
from daemon.web.server import views_of
from tests.component.test_worker import Site, bright, images

__all__ = ["images"]

TOKEN = "a-token-of-some-length"


@pytest.fixture
def site(tmp_path: Path, images: Path) -> Site:
    made = Site(tmp_path, bright, images)
    made.worker.pictures = ResultPictures(tmp_path / "pictures")
    return made


def browser(site: Site, folder: Path, token: str | None = None, **web: object) -> TestClient:
    settings = Config(folders=FolderSettings(state=folder), listener=ListenerSettings(port=1), web=WebSettings(**web))
    return TestClient(application(views_of(settings, site.store, site.clock), ("testserver",), token), follow_redirects=False)


def test_a_job_shows_its_result_on_its_images_with_the_verdict_to_whom_may_see_the_page_alone(site: Site, tmp_path: Path) -> None:
    site.worker.work_once()
    (path,) = (tmp_path / "pictures").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    page = browser(site, tmp_path).get("/jobs/1").text
    assert re.search(r"<b>Liver</b>\s*<span[^>]*>(accepted|flagged)", page)
    (address,) = re.findall(r'<img src="([^"]+)" alt="Each delivered target outlined on its largest slice: Liver"', page)
    answer = browser(site, tmp_path).get(address)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/png", "no-store")
    with Image.open(io.BytesIO(answer.content)) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24) or ()}
    assert (255, 140, 66) in colours, "the outline"
    closed = browser(site, tmp_path, TOKEN)
    assert closed.get(address).status_code == 401
    assert closed.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    hidden = browser(site, tmp_path, pictures=False)
    assert hidden.get(address).status_code == 404
    assert "<img" not in hidden.get("/jobs/1").text
    assert browser(site, tmp_path).get("/jobs/1/pictures/2").status_code == 404


def test_a_picture_that_cannot_be_kept_costs_no_result_and_a_damaged_one_no_page(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("where the folder should be")
    site.worker.work_once()
    assert site.state() is JobState.DELIVERING
    assert site.worker.pictures is not None
    assert site.worker.pictures.of(1) == ()
    (tmp_path / "pictures").unlink()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1-1.png").write_bytes(b"\x89PNG torn")
    assert browser(site, tmp_path).get("/jobs/1").status_code == 200


def test_a_job_that_runs_again_shows_the_pictures_of_its_latest_attempt(site: Site, tmp_path: Path) -> None:
    def nothing(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.zeros(frames.shape, np.bool_)

    site.worker.work_once()
    pictures = site.worker.pictures
    assert pictures is not None
    assert [picture.number for picture in pictures.of(1)] == [1]
    assert json.dumps([one.label for one in pictures.of(1)[0].verdicts]) == '["Liver"]'
    site.store.cancel(1)
    site.store.release(1)
    site.worker.models.answer = nothing  # type: ignore[attr-defined]
    site.worker.work_once()
    assert pictures.of(1) == (), "withheld: there is nothing to show"
