"""The web application: pages for people, metrics and health for machines, behind one door.

Nothing here changes anything but the actions of `daemon.web.actions`, whose forms must come from a page of ours. The door:
requests must name a host that is ours (a page elsewhere cannot reach a service on loopback by rebinding its own name), and
where a token is set, show it, as a bearer or in the cookie that the form gives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.job_states import JobState
from daemon.person import Person
from daemon.store import UnknownJob
from daemon.version import version
from daemon.web.actions import Action, Outcomes, outcome_of
from daemon.web.form import FormSecret, FormTooLarge, fields_of
from daemon.web.pages import JobLine, JobPage, Overview
from daemon.web.quarantine import DestinationLine, Quarantine
from daemon.web.token import cookie_of, same

HERE = Path(__file__).parent
COOKIE = "medsam2d"
OPEN_PATHS = ("/healthz", "/readyz", "/login", "/static/")
"""What may be seen without a token: nothing that the store knows."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LONGEST_NUMBER = 18
"""Digits: more than a database counts to."""
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Views:
    """What the application asks for; each may be called from several threads."""

    overview: Callable[[], Overview]
    jobs: Callable[[JobState | None], tuple[JobLine, ...]]
    job: Callable[[int], JobPage]
    """Raises UnknownJob."""
    picture: Callable[[int, int], bytes | None]
    """The PNG of a job's volume; None where there is none."""
    destinations: Callable[[], tuple[DestinationLine, ...]]
    quarantine: Callable[[], Quarantine]
    metrics: Callable[[], bytes]
    failing: Callable[[], dict[str, str]]
    now: Callable[[], datetime]
    actions: Mapping[str, Action] = field(default_factory=dict)
    """What the buttons do; none where actions are switched off."""


def application(views: Views, hosts: tuple[str, ...], token: str | None) -> Starlette:
    """Return the application; `hosts`: the names under which it may be asked for, without port."""
    pages = _Pages(views, token)
    routes = [
        Route("/", pages.overview),
        Route("/jobs", pages.jobs),
        Route("/jobs/{job_id}", pages.job),
        Route("/jobs/{job_id}/pictures/{number}", pages.picture),
        Route("/destinations", pages.destinations),
        Route("/quarantine", pages.quarantine),
        Route("/actions/{name}", pages.act, methods=["POST"]),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/metrics", pages.metrics),
        Route("/healthz", pages.health),
        Route("/readyz", pages.readiness),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
    ]
    door = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(BaseHTTPMiddleware, dispatch=_Door(token)),
    ]
    return Starlette(routes=routes, middleware=door, exception_handlers={404: pages.not_found, FormTooLarge: pages.too_large})


class _Door:
    """Lets in who shows the token, and puts the protecting headers on every answer."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request) if self._admits(request) else self._turn_away(request)
        response.headers.update(HEADERS)
        return response

    def _admits(self, request: Request) -> bool:
        if self._token is None or request.url.path.startswith(OPEN_PATHS):
            return True
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        bears = kind.lower() == "bearer" and same(shown.strip(), self._token)
        return bears or same(request.cookies.get(COOKIE, ""), cookie_of(self._token))

    def _turn_away(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/login", status_code=303)
        return PlainTextResponse("a token is needed\n", status_code=401, headers={"WWW-Authenticate": "Bearer"})


class _Pages:
    """The handlers."""

    def __init__(self, views: Views, token: str | None) -> None:
        self._views = views
        self._token = token
        self._form_secret = FormSecret()
        self._outcomes = Outcomes()
        # Whatever a store holds is text here: the name of a destination, too, may hold what looks like HTML.
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
        )

    async def overview(self, request: Request) -> Response:
        return self._page("overview.html", "Overview", request, page=await _apart(self._views.overview))

    async def jobs(self, request: Request) -> Response:
        chosen = request.query_params.get("state", "")
        state = next((one for one in JobState if one.value.lower() == chosen), None)
        lines = await _apart(self._views.jobs, state)
        return self._page(
            "jobs.html", "Jobs", request, lines=lines, states=[one.value.lower() for one in JobState], chosen=state and chosen
        )

    async def job(self, request: Request) -> Response:
        try:
            page = await _apart(self._views.job, _number(request.path_params["job_id"]))
        except UnknownJob:
            return await self.not_found(request, UnknownJob())
        return self._page("job.html", f"Job {page.line.id}", request, page=page)

    async def picture(self, request: Request) -> Response:
        try:
            found = await _apart(self._views.picture, _number(request.path_params["job_id"]), _number(request.path_params["number"]))
        except UnknownJob:
            found = None
        return await self.not_found(request, UnknownJob()) if found is None else Response(found, media_type="image/png")

    async def destinations(self, request: Request) -> Response:
        return self._page("destinations.html", "Destinations", request, lines=await _apart(self._views.destinations))

    async def quarantine(self, request: Request) -> Response:
        return self._page("quarantine.html", "Quarantine", request, page=await _apart(self._views.quarantine))

    async def act(self, request: Request) -> Response:
        action, fields = self._views.actions.get(request.path_params["name"]), await fields_of(request)
        if action is None:
            return await self.not_found(request, UnknownJob())
        if not self._form_secret.is_in(fields):
            return self._page("stale.html", "Not done", request, status=403, back=action.back)
        address = request.client.host if request.client else ""
        person = Person(way="status page", address=address, proof="none" if self._token is None else "token")
        outcome = await _apart(outcome_of, action, fields.get("subject", ""), person)
        return RedirectResponse(f"{action.back}?outcome={self._outcomes.keep(outcome)}", status_code=303)

    async def login(self, request: Request) -> Response:
        if self._token is None:
            return RedirectResponse("/", status_code=303)
        if request.method == "GET":
            return self._page("login.html", "Sign in", request, refused=False)
        if not same((await fields_of(request)).get("token", "").strip(), self._token):
            return self._page("login.html", "Sign in", request, status=403, refused=True)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, cookie_of(self._token), httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return response

    async def metrics(self, request: Request) -> Response:
        return Response(await _apart(self._views.metrics), media_type=EXPOSITION)

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readiness(self, request: Request) -> Response:
        faults = await _apart(self._views.failing)
        return JSONResponse({"ready": not faults, "failing": faults}, status_code=503 if faults else 200)

    async def not_found(self, request: Request, error: Exception) -> Response:
        return self._page("missing.html", "Not found", request, status=404)

    async def too_large(self, request: Request, error: Exception) -> Response:
        return PlainTextResponse("expected a form of this page, got a body that is larger than any\n", status_code=413)

    def _page(self, template: str, title: str, request: Request, *, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(
            title=title,
            version=version(),
            now=f"{self._views.now():%Y-%m-%d %H:%M:%S}Z",
            outcome=self._outcomes.find(request.query_params.get("outcome", "")),
            actions=self._views.actions,
            form_secret=self._form_secret.value,
            **values,
        )
        return HTMLResponse(text, status_code=status)


def _number(text: str) -> int:
    """The number that a path names; raises UnknownJob where it is none, or larger than any."""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        raise UnknownJob
    return int(text)


async def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what reads the store in a thread, so that a slow look holds up no other request."""
    return await anyio.to_thread.run_sync(function, *arguments)
