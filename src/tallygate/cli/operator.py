"""The operator's end of the admin API: one `request`, whether a gateway is running or not.

The store has one owner. If this process can be that, the routes answer here, through the very code of the admin
listener and without a socket; if a gateway is the owner, the same request goes to its admin listener. So no command
has a second way of doing anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote, unquote

import msgspec

from tallygate import app
from tallygate.api.edge import Edge
from tallygate.api.http import Router
from tallygate.api.problems import Problems
from tallygate.cli.exits import Exit, Failure
from tallygate.config import Secret
from tallygate.core.errors import Code
from tallygate.core.idempotency import HEADER
from tallygate.opening import open_books, open_proofs
from tallygate.secretfile import SecretFileError
from tallygate.storage.proofs.anchors import AnchorError
from tallygate.storage.sqlite import NotAStoreError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tallygate.config import AdminSettings, Settings
    from tallygate.storage.embedded import EmbeddedLedger

PATIENCE_S: Final = 2.0
"""How long a store may be locked with nobody answering for it: another command is done by then, or a gateway is up."""

CONNECT_S: Final = 5.0
ANSWER_S: Final = 600.0
"""How long the gateway may take to answer: replaying a large history is the slowest thing it is asked."""

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (where to knock, not to listen)


_NO_ID: Final = {"message": "There is nothing with this id.", "code": Code.NOT_FOUND.value}


class Answer(NamedTuple):
    """What a route answered."""

    status: int
    content: dict[str, Any]


class Operator(Protocol):
    """Somebody who answers the admin API."""

    def request(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Ask one route."""

    def apply_configuration(self) -> None:
        """Put the configured prices in force, where no running gateway has done so."""


class RemoteOperator:
    """The admin listener of a running gateway.

    Args:
        host: Where it listens.
        port: Where it listens.
        key: The admin key.

    Raises:
        OSError: Nobody listens there.
    """

    def __init__(self, host: str, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection(_ANYWHERE.get(host, host), port, timeout=CONNECT_S)
        self._connection.connect()
        self._connection.sock.settimeout(ANSWER_S)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def request(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Ask one route over HTTP."""
        body = None if fields is None else msgspec.json.encode(fields)
        headers = self._headers if idempotency_key is None else {**self._headers, HEADER: idempotency_key}
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            content = msgspec.json.decode(response.read(), type=dict[str, Any])
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            why = str(error) or type(error).__name__
            raise Failure(Exit.UNREACHABLE, f"What listens there does not answer as a gateway: {why}.") from None
        return Answer(response.status, content)

    def apply_configuration(self) -> None:
        """Do nothing: a gateway does this when it starts."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class LocalOperator:
    """The admin API in this process, on a store that nobody else uses.

    Args:
        settings: The configuration.

    Raises:
        StoreLockedError, NotAStoreError, SecretFileError: The store cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner = asyncio.Runner()
        try:
            self._ledger = self._runner.run(self._open())
        except BaseException:
            self._runner.close()
            raise

    def request(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Answer:
        """Ask one route."""
        path, _, query = path.partition("?")
        headers = [(b"authorization", b"Bearer " + self._key.encode())]
        if idempotency_key is not None:
            headers.append((HEADER.lower().encode(), idempotency_key.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode(),
            "headers": headers,
        }
        return self._runner.run(self._ask(scope, b"" if fields is None else msgspec.json.encode(fields)))

    def apply_configuration(self) -> None:
        """Put the configured prices in force."""
        self._runner.run(app.publish_prices(self._settings, self._ledger))

    def close(self) -> None:
        """Close the store."""
        try:
            self._runner.run(self._close())
        finally:
            self._runner.close()

    async def _open(self) -> EmbeddedLedger:
        """Open the books, and put the routes on them under a key that never leaves this process."""
        ledger, pepper = open_books(self._settings.store, self._settings.events, create=False)
        self._key = secrets.token_hex(16)
        admin = dataclasses.replace(self._settings.admin, key=Secret(self._key))
        settings = dataclasses.replace(self._settings, admin=admin)
        try:
            self._proofs = await open_proofs(self._settings.store, ledger)
        except BaseException:
            await ledger.close()
            raise
        routes = app.build_admin(settings, ledger, pepper, None, self._proofs).routes()
        self._edge = Edge(Router(routes), Problems(), lambda: "req_local")
        return ledger

    async def _close(self) -> None:
        try:
            await self._proofs.close()
        finally:
            await self._ledger.close()

    async def _ask(self, scope: dict[str, Any], body: bytes) -> Answer:
        status, pieces = 0, []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            pieces.append(message.get("body", b""))

        await self._edge(scope, receive, send)
        return Answer(status, msgspec.json.decode(b"".join(pieces)))


@contextlib.contextmanager
def reach_operator(settings: Settings) -> Iterator[Operator]:
    """Have the admin API for a while: here if the store is free, else from the gateway that has it.

    Raises:
        Failure: The store cannot be opened, or its owner cannot be asked.
    """
    operator = _find(settings)
    try:
        yield operator
    finally:
        operator.close()


def ask_gateway(admin: AdminSettings, why_not_here: str) -> RemoteOperator:
    """Return the gateway that has the store.

    Raises:
        Failure: It cannot be asked.
    """
    if admin.key is None:
        raise Failure(
            Exit.STORE_LOCKED,
            f"{why_not_here}, and this command has no admin key with which to ask it.\n"
            "Set the variable that [admin] key_env names (TALLYGATE_ADMIN_KEY if it names none) to the key of the "
            "running gateway, or stop that process.",
        )
    try:
        return RemoteOperator(admin.host, admin.port, admin.key.reveal())
    except OSError as error:
        raise Failure(
            Exit.UNREACHABLE,
            f"{why_not_here}, but no gateway answers on its admin address {admin.host}:{admin.port}: {error}.",
        ) from None


def ask(
    operator: Operator,
    method: str,
    path: str,
    fields: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> dict[str, Any]:
    """Return what a route answered.

    Raises:
        Failure: It refused.
    """
    answer = operator.request(method, path, fields, idempotency_key)
    if answer.status < 300:
        return answer.content
    error = answer.content.get("error")
    message = error["message"] if isinstance(error, dict) and "message" in error else f"HTTP status {answer.status}"
    # The same status stands for what is not there and for a server that is no gateway; only the code tells.
    missing = isinstance(error, dict) and error.get("code") == Code.NOT_FOUND
    raise Failure(Exit.NOT_FOUND if missing else Exit.FAILED, str(message), answer.content)


def segment(identifier: str) -> str:
    """Return an id as a part of a path.

    Raises:
        Failure: It is none, whatever it is the id of.
    """
    if not identifier or "/" in identifier:
        raise Failure(Exit.NOT_FOUND, _NO_ID["message"], {"error": _NO_ID})
    return quote(identifier, safe="")


def _find(settings: Settings) -> LocalOperator | RemoteOperator:
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return LocalOperator(settings)
        except StoreLockedError as error:
            locked = str(error)
        except (NotAStoreError, SecretFileError, AnchorError, PermissionError) as error:
            raise Failure(Exit.FAILED, _sentence(str(error))) from None
        try:
            return ask_gateway(settings.admin, _sentence(locked).removesuffix("."))
        except Failure:
            if time.monotonic() > give_up_s:
                raise
        time.sleep(0.1)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
