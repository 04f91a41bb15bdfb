"""API keys: made, imported, changed, rested, given another secret, ended."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from tallygate.api.admin.accounts import ACTOR
from tallygate.api.descriptions import describe_key
from tallygate.api.fields import read_fields, read_name, read_words
from tallygate.api.http import Response, Route
from tallygate.api.queries import read_strictly
from tallygate.api.terms import TERMS, read_terms
from tallygate.core.access import NO_TERMS, KeyTerms
from tallygate.core.errors import Code, Refusal
from tallygate.core.keys import key_digest, key_digest_from_hash, mask, mint_api_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tallygate.api.http import Fields, Request
    from tallygate.core.access import ApiKey
    from tallygate.core.catalog import Catalog
    from tallygate.ports import Ledger
    from tallygate.ports.keyring import Keyring
    from tallygate.relay import Sink

NEW_KEY: Final[Fields] = {"account": str, "name": str, "sha256": str, **TERMS, "actor": str}
CHANGE: Final[Fields] = {"name": str, **TERMS, "actor": str}
ACT: Final[Fields] = {"actor": str}
ONE_ACCOUNT: Final = ("account",)
ROTATION: Final[Fields] = {"grace_s": int, "actor": str}

GRACE_S_MAX: Final = 30 * 86_400
"""How long an old secret may work beside a new one: a month is enough for every place where it is written."""

_HASH: Final = re.compile("[0-9a-fA-F]{64}")
_OF_NOTHING: Final = sha256(b"").digest()


class KeyRoutes:
    """The routes under `/admin/v1/keys`.

    Args:
        ledger: The books, for the accounts.
        keys: The callers' keys.
        catalog: The models, for their canonical ids.
        pepper: The secret under which keys are digested.
        prefix: How new keys begin.
        entropy: Gives so many random bytes.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        keys: Keyring,
        catalog: Catalog,
        pepper: bytes,
        prefix: str,
        entropy: Callable[[int], bytes],
        now_ns: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._catalog = catalog
        self._pepper = pepper
        self._prefix = prefix
        self._entropy = entropy
        self._now_ns = now_ns

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        keys = "/admin/v1/keys"
        one = keys + "/{id}"
        terms = "`expires_ns`, `models`, `limits`"
        return (
            Route(
                "POST",
                keys,
                self.create_key,
                f"Make an API key: `account`, `name`, {terms}; its secret is shown once. Or import one: `sha256`.",
                fields=NEW_KEY,
            ),
            Route("GET", keys, self.list_keys, "All keys, or those of one `?account=`.", query=ONE_ACCOUNT),
            Route("GET", one, self.show_key, "One key."),
            Route("PATCH", one, self.change_key, f"Change a key: `name`, {terms}; null takes away.", fields=CHANGE),
            Route("DELETE", one, self.revoke_key, "End a key's life at once, for good.", fields=ACT),
            Route("POST", one + "/pause", self.pause_key, "Refuse a key until it is resumed.", fields=ACT),
            Route("POST", one + "/resume", self.resume_key, "Let a paused key be used again.", fields=ACT),
            Route(
                "POST",
                one + "/rotate",
                self.rotate_key,
                "Give a key another secret, shown once; the old one works for `grace_s` more.",
                fields=ROTATION,
            ),
        )

    async def create_key(self, request: Request, _: Sink) -> Response:
        """Make a key; the only answer that ever holds this secret. Of an imported one, nobody here knows it."""
        fields = await read_fields(request, NEW_KEY)
        account = self._ledger.account(fields.get("account", ""))
        name, actor = read_name(fields.get("name", "default")), read_words(fields, "actor", ACTOR)
        terms = self._read_terms(fields, NO_TERMS)
        if "sha256" in fields:
            digest = key_digest_from_hash(self._pepper, _read_hash(fields["sha256"]))
            key = await self._keys.add_key(account.id, name, digest, mask(""), actor, terms, imported=True)
            return Response.json(self._describe(key), 201)
        secret = mint_api_key(self._entropy(32), self._prefix)
        digest = key_digest(self._pepper, secret)
        key = await self._keys.add_key(account.id, name, digest, mask(secret), actor, terms)
        return Response.json({**self._describe(key), "secret": secret}, 201)

    async def list_keys(self, request: Request, _: Sink) -> Response:
        """List keys, never their secrets."""
        account_id = read_strictly(request, ONE_ACCOUNT).get("account")
        if account_id is not None:
            self._ledger.account(account_id)
        return Response.json({"data": [self._describe(key) for key in self._keys.keys(account_id)]})

    async def show_key(self, request: Request, _: Sink) -> Response:
        """Show one key."""
        return Response.json(self._describe(self._keys.key(request.argument)))

    async def change_key(self, request: Request, _: Sink) -> Response:
        """Change what a request names of a key; the rest stays."""
        fields = await read_fields(request, CHANGE)
        key = self._keys.key(request.argument)
        name, actor = read_name(fields.get("name", key.name)), read_words(fields, "actor", ACTOR)
        terms = self._read_terms(fields, KeyTerms(key.expires_ns, key.models, key.limits))
        return Response.json(self._describe(await self._keys.change_key(key.id, name, terms, actor)))

    async def revoke_key(self, request: Request, _: Sink) -> Response:
        """End a key's life at once, for good."""
        return await self._act(request, self._keys.revoke_key)

    async def pause_key(self, request: Request, _: Sink) -> Response:
        """Refuse a key until it is resumed."""
        return await self._act(request, self._keys.pause_key)

    async def resume_key(self, request: Request, _: Sink) -> Response:
        """Let a paused key be used again."""
        return await self._act(request, self._keys.resume_key)

    async def rotate_key(self, request: Request, _: Sink) -> Response:
        """Give a key another secret; the only answer that ever holds it."""
        fields = await read_fields(request, ROTATION)
        grace_s, actor = fields.get("grace_s", 0), read_words(fields, "actor", ACTOR)
        if not 0 <= grace_s <= GRACE_S_MAX:
            message = f"grace_s must be a whole number from 0 to {GRACE_S_MAX}."
            raise Refusal(Code.INVALID_VALUE, message, param="grace_s")
        secret = mint_api_key(self._entropy(32), self._prefix)
        digest = key_digest(self._pepper, secret)
        key = await self._keys.rotate_key(request.argument, digest, mask(secret), grace_s * 10**9, actor)
        return Response.json({**self._describe(key), "secret": secret, "grace_s": grace_s})

    async def _act(self, request: Request, act: Callable[[str, str], Awaitable[ApiKey]]) -> Response:
        fields = await read_fields(request, ACT)
        return Response.json(self._describe(await act(request.argument, read_words(fields, "actor", ACTOR))))

    def _read_terms(self, fields: dict[str, Any], known: KeyTerms) -> KeyTerms:
        sheet = self._ledger.sheet
        return read_terms(fields, known, lambda name: self._catalog.identify(name, sheet), self._now_ns())

    def _describe(self, key: ApiKey) -> dict[str, Any]:
        return describe_key(key, self._ledger.account(key.account), self._now_ns())


def _read_hash(text: str) -> bytes:
    """Return the SHA-256 of a key that was made elsewhere."""
    if not _HASH.fullmatch(text):
        message = "sha256 must be the SHA-256 of the whole key, as 64 hexadecimal digits."
    elif (hashed := bytes.fromhex(text)) == _OF_NOTHING:
        message = "sha256 is that of an empty text, which is nobody's key."
    else:
        return hashed
    raise Refusal(Code.INVALID_VALUE, message, param="sha256")
