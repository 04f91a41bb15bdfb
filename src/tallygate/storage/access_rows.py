"""What keys and accounts may do, as it stands in the columns of a store and in the lines of a dump.

Limits and models are JSON texts, by name, so that any SQL tool shows what they mean, and a limit that a later version
adds changes nothing for those that are there. NULL stands for no limit, and for all models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from tallygate.core.access import ApiKey
from tallygate.core.limits import UNLIMITED, Limits
from tallygate.storage.journal import FormerSecret, KeyRow, NotAStoreError, StoredAccount

if TYPE_CHECKING:
    from collections.abc import Sequence

_decode_limits: Final = msgspec.json.Decoder(dict[str, int]).decode
_decode_models: Final = msgspec.json.Decoder(list[str]).decode


def pack_limits(limits: Limits) -> dict[str, int] | None:
    """Return the limits that there are, by name; None where there are none."""
    return {name: limit for name, limit in limits._asdict().items() if limit is not None} or None


def unpack_limits(limits: dict[str, int] | None) -> Limits:
    """Return limits by name as the record that they are; raises `TypeError` for one that is unknown."""
    return UNLIMITED if limits is None else Limits(**limits)


def limits_column(limits: Limits) -> str | None:
    """Return limits as the store has them."""
    packed = pack_limits(limits)
    return None if packed is None else msgspec.json.encode(packed).decode()


def key_columns(row: KeyRow) -> tuple[object, ...]:
    """Return a key as the store has it, in the order of `put_key` and `all_keys`."""
    key, former = row.key, row.former or (None, None)
    models = None if key.models is None else msgspec.json.encode(sorted(key.models)).decode()
    terms = (int(key.paused), key.expires_ns, models, limits_column(key.limits), int(key.imported))
    return (*key[:6], *terms, row.digest, *former)


def read_key(columns: Sequence[Any]) -> KeyRow:
    """Return a key of the store; raises `NotAStoreError` where it is none of ours."""
    paused, expires_ns, models, limits, imported, digest, former_digest, former_until_ns = columns[6:]
    try:
        key = ApiKey(*columns[:6])._replace(
            paused=bool(paused),
            expires_ns=expires_ns,
            models=None if models is None else frozenset(_decode_models(models)),
            limits=_read_limits(limits),
            imported=bool(imported),
        )
    except (msgspec.MsgspecError, TypeError) as error:
        raise NotAStoreError(f"the terms of key {columns[0]} in the store cannot be read: {error}") from None
    return KeyRow(key, digest, None if former_digest is None else FormerSecret(former_digest, former_until_ns))


def read_account(columns: Sequence[Any]) -> StoredAccount:
    """Return an account of the store; raises `NotAStoreError` where it is none of ours."""
    suspended, limits = columns[6:]
    try:
        return StoredAccount(*columns[:6])._replace(suspended=bool(suspended), limits=_read_limits(limits))
    except (msgspec.MsgspecError, TypeError) as error:
        raise NotAStoreError(f"the limits of account {columns[0]} in the store cannot be read: {error}") from None


def _read_limits(column: str | None) -> Limits:
    return unpack_limits(None if column is None else _decode_limits(column))
