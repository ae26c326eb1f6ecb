"""The application of the status page on a port of loopback, as the service serves it, and a hand that presses its buttons."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import daemon.web.app
from daemon.web.app import Views, application
from daemon.web.punctual import Punctual

SCRIPT = "/static/refresh.js"


@contextmanager
def served(views: Views, protocol: type[Punctual] = Punctual, hand: str = "") -> Iterator[str]:
    """The application's address; `hand`: JavaScript that runs in each page beside the page's own, in place of a person's hand."""
    app: Any = application(views, ("127.0.0.1",), None)
    settings = uvicorn.Config(_with(hand, app) if hand else app, host="127.0.0.1", port=0, http=protocol, log_config=None, lifespan="off")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)


def _with(hand: str, app: ASGIApp) -> ASGIApp:
    own = (Path(daemon.web.app.__file__).parent / SCRIPT.lstrip("/")).read_text()

    async def handed(scope: Scope, receive: Receive, send: Send) -> None:
        script = Response(own + hand, media_type="text/javascript") if scope["path"] == SCRIPT else None
        await (script or app)(scope, receive, send)

    return handed
