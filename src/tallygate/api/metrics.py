"""The operator's figures, in Prometheus's text format."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from tallygate.api.http import Access, Response, Route, read_bearer
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.api.http import Request
    from tallygate.relay import Sink

MEDIA_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class MetricsApi:
    """The route of the figures.

    Args:
        render: Returns the figures as they are now.
        keys: What opens them; without any, they are refused.
    """

    def __init__(self, render: Callable[[], bytes], keys: Iterable[str]) -> None:
        self._render = render
        self._keys = [key.encode() for key in keys]

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route(
                "GET",
                "/metrics",
                self.metrics,
                "Figures for Prometheus, with the metrics' or the admin key.",
                access=Access.OWN,
            ),
        )

    async def metrics(self, request: Request, _: Sink) -> Response:
        """Show the figures as they are now."""
        token = read_bearer(request)
        if token is None or not any(hmac.compare_digest(token, key) for key in self._keys):
            raise Refusal(Code.INVALID_API_KEY, "The key of the metrics is wrong or missing.")
        return Response(200, self._render(), [(b"content-type", MEDIA_TYPE)])
