"""What the Bearer gateway's operator has set, and its admin routes as far as another gateway meets them.

Routes and names are `devshardctl`'s: settings (limits, who may use which model, whether it has moved), its one session
("devshard") to be put out of service and back, and the session's escrow. All need the admin key, and work while the
gateway is disabled. Not simulated: the rotation, funding and settlement of escrows.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tallygate.devnet.calls import CallError, parse_object
from tallygate.devnet.server import Reply, Request

ADMIN_PREFIX = "/v1/admin/"
DISABLED_MESSAGE = "please use ... base url"  # the original's own words where an operator has set none
LIMIT_MAX = 2**53


class Access(StrEnum):
    """Who may use a model."""

    OPEN = "open"
    API_KEY = "api_key"
    ADMIN_ONLY = "admin_only"


@dataclass(slots=True)
class Session:
    """The settings of the moment.

    Attributes:
        id: The session's name, which is its escrow's.
        models: What it serves.
        max_concurrent: Calls in flight above which it answers 429.
        max_input_tokens: Prompt tokens in flight above which it answers 429; 0 is no limit.
        access: Who may use which model; with a key, unless it says otherwise.
        active: Whether it takes calls; else it answers 409.
        disabled: Whether the whole gateway has moved; else it answers 308.
        message: What the 308 says.
        new_url: Where it has moved to.
    """

    id: str
    models: tuple[str, ...]
    max_concurrent: int
    max_input_tokens: int = 0
    access: dict[str, Access] = field(default_factory=dict)
    active: bool = True
    disabled: bool = False
    message: str = ""
    new_url: str = ""

    def access_of(self, model: str) -> Access:
        """Says who may use a model."""
        return self.access.get(model, Access.API_KEY)

    def show_settings(self) -> dict[str, Any]:
        """Gives the settings as the admin routes show them."""
        return {
            "max_concurrent_requests": self.max_concurrent,
            "max_input_tokens_in_flight": self.max_input_tokens,
            "model_access": {model: self.access_of(model) for model in self.models},
            "disabled": {"enabled": self.disabled, "message": self.message, "new_url": self.new_url},
        }

    def show_moved(self) -> Reply:
        """Gives the answer of a gateway that has moved: JSON, and no Location."""
        moved = {"status": 308, "message": self.message or DISABLED_MESSAGE, "new_url": self.new_url}
        return Reply(308, json.dumps(moved).encode("ascii") + b"\n")


class AdminApi:
    """The admin routes."""

    def __init__(
        self, session: Session, refuse: Callable[[int, str], Reply], show_escrow: Callable[[], dict[str, Any]]
    ) -> None:
        self._session = session
        self._refuse = refuse
        self._show_escrow = show_escrow
        own = f"/v1/admin/devshards/{session.id}"
        self._routes: Mapping[tuple[str, str], Callable[[dict[str, Any]], object]] = {
            ("GET", "/v1/admin/state"): self._show_state,
            ("GET", "/v1/admin/settings"): lambda _: session.show_settings(),
            ("PUT", "/v1/admin/settings"): self._set,
            ("POST", "/v1/admin/settings"): self._set,
            ("GET", "/v1/admin/devshards"): self._list_devshards,
            ("POST", f"{own}/activate"): self._activate,
            ("POST", f"{own}/deactivate"): self._deactivate,
            ("GET", "/v1/admin/escrows"): lambda _: {"escrows": [self._show_escrow()]},
        }

    def answer(self, request: Request) -> Reply:
        """Answers a request by somebody with the admin key."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return self._refuse(404, "not found")
        try:
            shown = route(parse_object(request.body) if request.body else {})
        except CallError as error:
            return self._refuse(400, str(error))
        return Reply(200, json.dumps(shown).encode("ascii"))

    def _show_state(self, fields: dict[str, Any]) -> object:
        return {"settings": self._session.show_settings(), "devshards": self._list_devshards(fields)}

    def _list_devshards(self, fields: dict[str, Any]) -> object:
        del fields
        session = self._session
        return [{"id": session.id, "model": model, "active": session.active} for model in session.models]

    def _activate(self, fields: dict[str, Any]) -> object:
        self._session.active = True
        return self._list_devshards(fields)

    def _deactivate(self, fields: dict[str, Any]) -> object:
        self._session.active = False
        return self._list_devshards(fields)

    def _set(self, fields: dict[str, Any]) -> object:
        """Changes settings; all of them, or nothing where one is wrong."""
        session = self._session
        concurrent = _read_limit(fields, "max_concurrent_requests", session.max_concurrent)
        tokens = _read_limit(fields, "max_input_tokens_in_flight", session.max_input_tokens)
        access = fields.get("model_access", {})
        if not isinstance(access, dict) or not access.keys() <= set(session.models):
            raise CallError("model_access must be an object by model that is served")
        changed = {model: _read_access(value) for model, value in access.items()}
        disabled = fields.get("disabled", session.show_settings()["disabled"])
        if not isinstance(disabled, dict) or not isinstance(disabled.get("enabled", False), bool):
            raise CallError("disabled must be an object with enabled, message and new_url")
        session.max_concurrent, session.max_input_tokens = concurrent, tokens
        session.access |= changed
        session.disabled = disabled.get("enabled", False)
        session.message, session.new_url = str(disabled.get("message", "")), str(disabled.get("new_url", ""))
        return session.show_settings()


def _read_access(value: object) -> Access:
    if not isinstance(value, str) or value not in set(Access):
        raise CallError(f"model_access must be one of {', '.join(Access)} for each model")
    return Access(value)


def _read_limit(fields: dict[str, Any], name: str, otherwise: int) -> int:
    value = fields.get(name, otherwise)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LIMIT_MAX:
        raise CallError(f"{name} must be a whole number from 0 to {LIMIT_MAX}")
    return value
