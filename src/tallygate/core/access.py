"""Who may call: what is known of an API key, how its life stands, and why a call of it is refused.

A key's own life is stored: made, paused, revoked, its expiry. What follows from other facts is derived each time it
is asked for and stored nowhere: a key has expired when its time has come, and it is blocked while its account is
suspended or below zero, so it comes back by itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.errors import Code, Refusal
from tallygate.core.limits import UNLIMITED, Limits

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account


class KeyStatus(StrEnum):
    """How the life of a key stands; what is said of its own goes before what is said of its account."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    PAUSED = "paused"
    BLOCKED = "blocked"
    ACTIVE = "active"


class ApiKey(NamedTuple):
    """What is known of a caller's key; the secret itself is known only to the caller.

    Attributes:
        masked: How it is shown, for its owner to recognise.
        paused: Whether its owner has it rest.
        expires_ns: When its life ends by itself.
        models: The ids of the models that it may ask for, as in the catalog; None is all.
        limits: Its own limits; its account may have others.
        imported: Whether a secret of it was made elsewhere, and may be of any form.
    """

    id: str
    account: str
    name: str
    masked: str
    created_ns: int
    revoked_ns: int | None
    paused: bool = False
    expires_ns: int | None = None
    models: frozenset[str] | None = None
    limits: Limits = UNLIMITED
    imported: bool = False


class KeyTerms(NamedTuple):
    """What a key may do, as `ApiKey` says it."""

    expires_ns: int | None = None
    models: frozenset[str] | None = None
    limits: Limits = UNLIMITED


NO_TERMS: Final = KeyTerms()


class UnknownKeyError(LookupError):
    """There is no API key with this id."""


def status_of(key: ApiKey, account: Account, now_ns: int) -> KeyStatus:
    """Return how the life of a key stands now."""
    if key.revoked_ns is not None:
        return KeyStatus.REVOKED
    if key.expires_ns is not None and key.expires_ns <= now_ns:
        return KeyStatus.EXPIRED
    if key.paused:
        return KeyStatus.PAUSED
    if account.suspended or account.balance < 0:
        return KeyStatus.BLOCKED
    return KeyStatus.ACTIVE


def refusal_of(key: ApiKey, account: Account, now_ns: int) -> Refusal | None:
    """Return why a key may not call, or None; whoever has its secret may know the reason.

    An account below zero is no reason here: what costs nothing is served, and a hold is refused for want of money.
    """
    if key.revoked_ns is not None:
        return Refusal(Code.INVALID_API_KEY, "This API key has been revoked.")
    if key.expires_ns is not None and key.expires_ns <= now_ns:
        return Refusal(Code.INVALID_API_KEY, "This API key has expired.")
    if key.paused:
        return Refusal(Code.INVALID_API_KEY, "This API key is paused.")
    if account.suspended:
        return Refusal(Code.ACCOUNT_DEACTIVATED, "The account of this API key is suspended; ask whoever runs it.")
    return None


def check_model(key: ApiKey, model: str) -> None:
    """Raise `Refusal` unless a key may ask for a model, named by its id in the catalog."""
    if key.models is not None and model not in key.models:
        message = "This API key may not use this model; /v1/models lists those that it may use."
        raise Refusal(Code.MODEL_NOT_ALLOWED, message, param="model")


def describe_changes(before: ApiKey, after: ApiKey) -> str:
    """Return what an act changes of a key, for the books; but never a name, which they could not forget."""
    told = [] if before.name == after.name else ["name"]
    if before.expires_ns != after.expires_ns:
        told.append(f"expires_ns={'none' if after.expires_ns is None else after.expires_ns}")
    if before.models != after.models:
        told.append(f"models={'all' if after.models is None else ' '.join(sorted(after.models))}")
    if before.limits != after.limits:
        told.append(describe_limits(before.limits, after.limits))
    return ", ".join(told)


def describe_limits(before: Limits, after: Limits) -> str:
    """Return which limits an act changes, and to what."""
    changed = [(name, new) for name, old, new in zip(Limits._fields, before, after, strict=True) if old != new]
    return ", ".join(f"{name}={'none' if limit is None else limit}" for name, limit in changed)
