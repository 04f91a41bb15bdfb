"""The OpenAPI documents: what all routes of a listener ask and answer, for programs that read such documents.

`shapes` has the words, `asked`, `answered` and `operated` say what a value may be, `operations` which of it belongs to
which route, `document` puts it together. The route that serves it is here. Nothing of it is on the path of a call:
requests are checked by their own readers, and a test holds both against each other on a running gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tallygate.api.http import Access, Response, Route
from tallygate.api.openapi.document import CALLERS, OPERATOR, describe_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Request
    from tallygate.api.openapi.document import Listener
    from tallygate.api.problems import Problems
    from tallygate.relay import Sink

__all__ = ["CALLERS", "OPERATOR", "PATH", "OpenApi", "describe_routes"]

PATH: Final = "/openapi.json"


class OpenApi:
    """The route of a listener's document.

    Args:
        routes: All the others of the listener.
        listener: Which one it is.
        problems: How refusals are told.
    """

    def __init__(self, routes: Sequence[Route], listener: Listener, problems: Problems) -> None:
        access = Access.OPEN if listener.is_public else Access.KEY
        self._own = Route("GET", PATH, self.show, "This description of all routes, for programs.", access=access)
        self._described = (*routes, self._own)
        self._listener = listener
        self._problems = problems
        self._body: bytes | None = None

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (self._own,)

    async def show(self, _: Request, __: Sink) -> Response:
        """Show the document, which is drawn the first time that somebody asks."""
        if self._body is None:
            self._body = msgspec.json.encode(describe_routes(self._described, self._listener, self._problems))
        return Response(200, self._body, [(b"content-type", b"application/json")])
