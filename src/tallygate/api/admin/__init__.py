"""What the operator reaches, on a listener of its own: each file holds the routes of one noun.

The command line speaks to these same routes, over the admin listener beside a running gateway, or in its own
process when it holds the store. Amounts are exact decimal strings of US dollars.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

from tallygate.api.admin.accounts import AccountRoutes
from tallygate.api.admin.alarms import AlarmRoutes
from tallygate.api.admin.inferences import InferenceRoutes
from tallygate.api.admin.keys import KeyRoutes
from tallygate.api.admin.network import NetworkRoutes
from tallygate.api.admin.prices import PriceRoutes
from tallygate.api.admin.proof import ProofRoutes
from tallygate.api.http import read_bearer
from tallygate.api.usage import UsageAnswers
from tallygate.core.access import UnknownKeyError
from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import HEADER, Digests
from tallygate.core.keys import KEY_PREFIX
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.admin.alarms import Lookout
    from tallygate.api.http import Handler, Request, Response, Route
    from tallygate.core.catalog import Catalog
    from tallygate.ports import CallHistory, Ledger, Proofs, Upstreams
    from tallygate.ports.keyring import Keyring
    from tallygate.relay import Sink

GROUPS: Final = (AccountRoutes, KeyRoutes, PriceRoutes, NetworkRoutes, AlarmRoutes, InferenceRoutes, ProofRoutes)
"""The routes under `/admin/v1`, in the order of the reference."""


class OperatorKey:
    """The key of the operator's listener.

    Args:
        key: What the operator shows; None answers nobody.
    """

    def __init__(self, key: str | None) -> None:
        self._key = None if key is None else key.encode()

    def knows(self, token: bytes | None) -> bool:
        """Say whether a token is the key."""
        return self._key is not None and token is not None and hmac.compare_digest(token, self._key)

    def refuse_unknown(self) -> Refusal:
        """Return what is said to whoever does not have it."""
        return Refusal(Code.INVALID_API_KEY, "The admin key is wrong or missing.")


class AdminApi:
    """All of the operator's routes.

    Args:
        ledger: The books.
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        catalog: The models, for their canonical ids.
        history: What became of past calls.
        proofs: What signs checkpoints; None where nothing does.
        upstreams: The ways to the network; None where they are not opened (the command line beside no gateway).
        lookout: What is known of the world around a gateway; None where none runs.
        admin_key: What the operator shows; None answers nobody.
        entropy: Gives so many random bytes.
        now_ns: Wall clock in nanoseconds.
        key_prefix: How new keys begin.

    Attributes:
        key: What the operator shows.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        keys: Keyring,
        pepper: bytes,
        catalog: Catalog,
        history: CallHistory,
        upstreams: Upstreams | None,
        admin_key: str | None,
        proofs: Proofs | None = None,
        lookout: Lookout | None = None,
        entropy: Callable[[int], bytes],
        now_ns: Callable[[], int],
        key_prefix: str = KEY_PREFIX,
    ) -> None:
        self.key = OperatorKey(admin_key)
        self._groups = (
            AccountRoutes(ledger, keys, Digests(pepper), now_ns),
            KeyRoutes(ledger, keys, catalog, pepper, key_prefix, entropy, now_ns),
            PriceRoutes(ledger, catalog),
            NetworkRoutes(upstreams),
            AlarmRoutes(lookout),
            InferenceRoutes(history, UsageAnswers(history, Tags(pepper), now_ns), now_ns),
            ProofRoutes(ledger, proofs),
        )

    def routes(self) -> Sequence[Route]:
        """Return the table of routes, each of which answers only the operator."""
        return [self.guard(route) for group in self._groups for route in group.routes()]

    def guard(self, route: Route) -> Route:
        """Return a route that answers only the operator."""
        return route._replace(handler=self._guarded(route))

    def _guarded(self, route: Route) -> Handler:
        """Return a handler that answers only the operator, and tells what it does not find."""

        async def answer(request: Request, sink: Sink) -> Response | None:
            if not self.key.knows(read_bearer(request)):
                raise self.key.refuse_unknown()
            if request.method not in {"GET", "HEAD"} and not route.claims and b"idempotency-key" in request.headers:
                message = f"This route takes no {HEADER}; deposits and corrections do."
                raise Refusal(Code.UNSUPPORTED_HEADER, message, param=HEADER)
            return await told(route.handler(request, sink))

        return answer


async def told(answer: Any) -> Response | None:
    """Await a handler's answer; what it does not find becomes a 404."""
    try:
        response: Response | None = await answer
    except UnknownAccountError:
        message = "There is no such account."
    except UnknownKeyError:
        message = "There is no such API key."
    else:
        return response
    raise Refusal(Code.NOT_FOUND, message)
