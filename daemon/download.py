"""Downloads over HTTP that survive an interruption: what has come is kept, and the next try goes on from there (RFC 9110 section 14).

Beside the part that has come lies what the server called that version of the file, so that two versions are never joined.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urlsplit

from daemon.errors import Transient
from daemon.version import version

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
MAXIMUM_BYTES = 4 << 30
MOST_TRIES = 20
"""In a row, each of which brought something."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
STATED_SHA256 = "X-Linked-Etag"
"""In which Hugging Face's server states the SHA-256 of a large file, before it sends the client elsewhere for the bytes."""
STATUS_WORDS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the server wants to know who asks",
    HTTPStatus.FORBIDDEN: "the server gives it to others only",
    HTTPStatus.NOT_FOUND: "the server has no such file (any longer)",
}


class DownloadFailed(Transient):
    """A file did not come, or not whole; what has come is kept for the next try."""

    code: ClassVar[str] = "download-failed"


class _Interrupted(Exception):
    """The connection ended in the middle."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that came whole."""

    path: Path
    stated_sha256: str | None
    """What the server said that its SHA-256 is; None where it said nothing."""


def fetch(url: str, path: Path, progress: Callable[[int, int], None], tls: ssl.SSLContext | None = None) -> Fetched:
    """Download `url` into `path`, going on with the part of it that an earlier try left; `progress` hears (bytes so far, bytes in all).

    Raises DownloadFailed: the part that has come is kept beside `path`.
    """
    partial = path.with_name(f"{path.name}.part")
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects, urllib.request.HTTPSHandler(context=tls))
    for _ in range(MOST_TRIES):
        before = _size(partial)
        try:
            _fetch_rest(opener, url, partial, progress)
        except _Interrupted as error:
            if _size(partial) > before:
                continue
            raise DownloadFailed(
                f"{url}: the connection ended after {_size(partial)} bytes ({error}); run the same command again"
            ) from error
        partial.replace(path)
        _validator_of(partial).unlink(missing_ok=True)
        return Fetched(path=path, stated_sha256=redirects.stated_sha256)
    raise DownloadFailed(f"{url}: the connection ended {MOST_TRIES} times; what came is kept, run the same command again")


def forget(path: Path) -> None:
    """Remove a file that was downloaded, and every part of it."""
    partial = path.with_name(f"{path.name}.part")
    for one in (path, partial, _validator_of(partial)):
        one.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never out of TLS, and remembers the hash that one of them stated."""

    stated_sha256: str | None = None

    def note(self, headers: http.client.HTTPMessage) -> None:
        """Remember the hash, if it is one."""
        found = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get(STATED_SHA256, ""))
        self.stated_sha256 = found[1] if found else self.stated_sha256

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows."""
        self.note(headers)
        to, came = urlsplit(newurl), urlsplit(req.full_url)
        if to.scheme != "https" and came.scheme == "https":
            raise urllib.error.URLError(f"a redirect out of TLS, to {to.scheme}://{to.hostname}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def https_response(self, _request: urllib.request.Request, response: Any) -> Any:
        """Look at the headers of every answer, that of a server which does not redirect too."""
        self.note(response.headers)
        return response

    http_response = https_response


def _fetch_rest(opener: urllib.request.OpenerDirector, url: str, partial: Path, progress: Callable[[int, int], None]) -> None:
    """Ask for what is missing and write it. Raises _Interrupted or DownloadFailed."""
    have, validator = _size(partial), _read(_validator_of(partial))
    resume = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    headers = {"User-Agent": f"medsam2d/{version()}", "Accept-Encoding": "identity", **resume}
    try:
        answer = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and resume:  # ours is longer than theirs: another file
            partial.unlink()
            return _fetch_rest(opener, url, partial, progress)
        words = STATUS_WORDS.get(error.code, "try again later")
        raise DownloadFailed(f"{url}: expected HTTP status 200, got {error.code}: {words}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise DownloadFailed(f"{url}: {_reason(error)}") from error
    with contextlib.closing(answer):
        begins = _begins_at(answer.headers) if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        if begins not in (0, have):
            raise DownloadFailed(f"{url}: expected the bytes from {have} on, got those from {begins} on; the server cannot resume")
        length = answer.headers.get("Content-Length", "")
        total = begins + int(length) if length.isdecimal() else 0
        _expect_room(url, partial.parent, total, total - begins)
        _validator_of(partial).write_text(_validator(answer.headers), encoding="latin-1")
        _write(answer, partial, begins, total, progress)
    return None


def _write(answer: IO[bytes], partial: Path, begins: int, total: int, progress: Callable[[int, int], None]) -> None:
    done = begins
    with partial.open("r+b" if begins else "wb") as stream:
        stream.truncate(begins)
        stream.seek(begins)
        try:
            while chunk := answer.read(CHUNK_BYTES):
                stream.write(chunk)
                done += len(chunk)
                if done > MAXIMUM_BYTES:
                    raise DownloadFailed(f"expected at most {MAXIMUM_BYTES} bytes, got more; this is no weights file")
                progress(done, max(total, done))
        except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
            raise _Interrupted(type(error).__name__) from error
        finally:
            stream.flush()
            os.fsync(stream.fileno())
    if done < total:
        raise _Interrupted(f"{total} bytes were promised")


def _expect_room(url: str, folder: Path, total: int, missing: int) -> None:
    if total > MAXIMUM_BYTES:
        raise DownloadFailed(f"{url}: expected at most {MAXIMUM_BYTES} bytes, got {total}; this is no weights file")
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise DownloadFailed(f"{url}: expected {missing} bytes free in {folder}, got {free}; free some space")


def _begins_at(headers: http.client.HTTPMessage) -> int:
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _validator(headers: http.client.HTTPMessage) -> str:
    """What names this version of the file; a weak ETag would join two versions that only mean the same (RFC 9110 section 13.1.5)."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _validator_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _read(path: Path) -> str:
    return path.read_text(encoding="latin-1") if path.is_file() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"expected a certificate that we trust, got {cause.verify_message}; a proxy that opens TLS needs its authority in SSL_CERT_FILE"
        )
    return f"cannot be reached ({cause})"
