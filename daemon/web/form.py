"""Forms: small bodies, read within limits, and a secret in each that pages elsewhere cannot know."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from daemon.web.token import same

MAXIMUM_BYTES = 4096
SECRET_FIELD = "form"


class FormTooLarge(Exception):
    """The body is larger than any form of ours."""


class FormSecret:
    """Made anew with each start of the process. Who can read a page of ours knows it; a page elsewhere that sends us a form does not.

    Headers would not do: under our own Referrer-Policy browsers send `Origin: null` with a form, and Sec-Fetch-Site only where
    the page came over HTTPS or from loopback.
    """

    def __init__(self) -> None:
        self.value = secrets.token_urlsafe(32)

    def is_in(self, fields: Mapping[str, str]) -> bool:
        """Tell whether a form came from a page of ours."""
        return same(fields.get(SECRET_FIELD, ""), self.value)


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first of each name; none where the body is no form, or the client went away. Raises FormTooLarge."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAXIMUM_BYTES:
                raise FormTooLarge
    except ClientDisconnect:
        return {}
    try:
        found = parse_qs(body.decode("utf-8", errors="replace"), max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}
