"""The application of the status page on a port of loopback, as the service serves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from daemon.web.app import Views, application
from daemon.web.punctual import Punctual


@contextmanager
def served(views: Views, protocol: type[Punctual] = Punctual) -> Iterator[str]:
    """The application's address."""
    app = application(views, ("127.0.0.1",), None)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, http=protocol, log_config=None, lifespan="off"))
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
