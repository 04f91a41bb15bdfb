"""API keys: made, listed, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.admin.accounts import ACTOR
from tallygate.api.descriptions import describe_key
from tallygate.api.fields import read_fields, read_name
from tallygate.api.http import Response, Route, read_query
from tallygate.core.keys import key_digest, mask, mint_api_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.http import Request
    from tallygate.core.access import ApiKey
    from tallygate.ports import KeyStore, Ledger
    from tallygate.relay import Sink


class KeyRoutes:
    """The routes under `/admin/v1/keys`.

    Args:
        ledger: The books, for the accounts.
        keys: The callers' keys.
        pepper: The secret under which keys are digested.
        entropy: Gives so many random bytes.
    """

    def __init__(self, ledger: Ledger, keys: KeyStore, pepper: bytes, entropy: Callable[[int], bytes]) -> None:
        self._ledger = ledger
        self._keys = keys
        self._pepper = pepper
        self._entropy = entropy

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        keys = "/admin/v1/keys"
        return (
            Route("POST", keys, self.create_key, "Make an API key: `account`, `name`. The secret is shown once."),
            Route("GET", keys, self.list_keys, "All keys, or those of one `?account=`."),
            Route("DELETE", keys + "/{id}", self.revoke_key, "End a key's life at once."),
        )

    async def create_key(self, request: Request, _: Sink) -> Response:
        """Make a key; the only answer that ever holds its secret."""
        fields = await read_fields(request, {"account": str, "name": str})
        account = self._ledger.account(fields.get("account", ""))
        name = read_name(fields.get("name", "default"))
        secret = mint_api_key(self._entropy(32))
        key = await self._keys.add_key(account.id, name, key_digest(self._pepper, secret), mask(secret), ACTOR)
        return Response.json({**describe_key(key, account), "secret": secret}, 201)

    async def list_keys(self, request: Request, _: Sink) -> Response:
        """List keys, never their secrets."""
        account_id = read_query(request).get("account")
        if account_id is not None:
            self._ledger.account(account_id)
        return Response.json({"data": [self._describe_key(key) for key in self._keys.keys(account_id)]})

    async def revoke_key(self, request: Request, _: Sink) -> Response:
        """End a key's life at once."""
        return Response.json(self._describe_key(await self._keys.revoke_key(request.argument, ACTOR)))

    def _describe_key(self, key: ApiKey) -> dict[str, Any]:
        return describe_key(key, self._ledger.account(key.account))
