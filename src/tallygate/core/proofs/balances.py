"""A checkpoint's commitment to every customer's balance, which shows none of them.

    leaf = SHA-256(0x00 || [salt, account, available, held, account sequence] as MessagePack)
    tree   RFC 6962 (`merkle`) over the leaves, in the order of the accounts' ids
    salt = HMAC-SHA256(HMAC-SHA256(secret, "tallygate balance salts"), time of the checkpoint, 8 bytes || account's id)

A customer who is given the salt of their own leaf, and the path to the root, can prove what their balance was. The
path holds hashes of others' leaves; the salts, 32 bytes each that nobody else can compute, keep anyone from guessing
the balances behind those, and, since every checkpoint has its own, even from seeing that one has not changed.
They are derived, not drawn, so that the owner of the secret can make the tree again when the books are checked.

What a path does tell is how many accounts there are.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import msgspec

from tallygate.core.ledger.merkle import EMPTY_ROOT, grow_levels, leaf_hash, path_through

if TYPE_CHECKING:
    from collections.abc import Iterable

SALT_BYTES: Final = 32
_PURPOSE: Final = b"tallygate balance salts"


class Balance(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An account at one moment, in pico-dollars; the fields in the order of their bytes."""

    salt: bytes
    account: str
    available: int
    held: int
    account_sequence: int


class MalformedBalanceError(ValueError):
    """Bytes are not a balance in its one canonical form."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Balance).decode


def decode_balance(leaf: bytes) -> Balance:
    """Return the balance of a leaf's bytes.

    Raises:
        MalformedBalanceError: The bytes are none, or are written otherwise than we would write them.
    """
    try:
        balance = _decode(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBalanceError(f"not a balance: {error}") from None
    if _encode(balance) != leaf or len(balance.salt) != SALT_BYTES:
        raise MalformedBalanceError("not a balance in canonical form")
    return balance


class BalanceTree:
    """The balances of one moment, committed to; all nodes are kept, so that a path takes no hashing.

    Args:
        secret: Known to the operator alone.
        time_ns: Of the checkpoint.
        balances: Account, available, held and account sequence of every account; best by id, as sorting a hundred
            thousand keeps all other threads waiting.
    """

    def __init__(self, secret: bytes, time_ns: int, balances: Iterable[tuple[str, int, int, int]]) -> None:
        salt_key = hmac.digest(secret, _PURPOSE, "sha256")
        time = time_ns.to_bytes(8, "big")
        self._leaves: list[bytes] = []
        hashes: list[bytes] = []
        self._places: dict[str, int] = {}
        for account, *amounts in sorted(balances):
            salt = hmac.digest(salt_key, time + account.encode(), "sha256")
            leaf = _encode((salt, account, *amounts))
            self._places[account] = len(self._leaves)
            self._leaves.append(leaf)
            hashes.append(leaf_hash(leaf))
        self._levels = grow_levels(hashes)
        self.root = self._levels[-1][0] if hashes else EMPTY_ROOT

    @property
    def size(self) -> int:
        """How many accounts there are."""
        return len(self._leaves)

    def place(self, account: str) -> int | None:
        """Return an account's place in the tree, None where it had not been opened."""
        return self._places.get(account)

    def sequence_of(self, account: str) -> int | None:
        """Return the sequence of an account's last entry, None where it had not been opened."""
        place = self._places.get(account)
        return None if place is None else decode_balance(self._leaves[place]).account_sequence

    def leaf(self, place: int) -> bytes:
        """Return the bytes of the leaf at a place."""
        return self._leaves[place]

    def path(self, place: int) -> list[bytes]:
        """Return the path that proves the leaf at a place."""
        return path_through(self._levels, place)
