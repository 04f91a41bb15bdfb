"""What a call is attributed to by its caller, as a reference that only the installation can make.

A caller says with `user` for whom a call is made, and with `metadata.tag` for what: a run, a project, a tenant. Neither
text is kept: the entries of the call carry 16 bytes, of which the first 8 stand for the one and the last 8 for the
other, zeros where nothing is said. Each half is a keyed HMAC of account and text, so it adds up within an account, says
nothing to who has only the books, and cannot be compared between accounts.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

HALF_BYTES: Final = 8
"""64 bits: two of a thousand million texts of one account hardly ever share them, and a row in a table stays short."""

USER: Final = "user"
TAG: Final = "tag"
_NOTHING: Final = bytes(HALF_BYTES)
_LABEL: Final = b"tallygate tag 1"


class _Metadata(msgspec.Struct):
    tag: str | None = None


_encode = msgspec.json.Encoder().encode
_decode_user = msgspec.json.Decoder(str).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


class Tags:
    """Makes the references of texts.

    Args:
        pepper: The installation's secret, from which another one is derived for this purpose only.
    """

    def __init__(self, pepper: bytes) -> None:
        self._secret = hmac.digest(pepper, _LABEL, "sha256")

    def of_call(self, account: str, members: Mapping[str, Raw]) -> bytes | None:
        """Return the tag of a call from the members of its request, None if it is attributed to nothing."""
        if "user" not in members and "metadata" not in members:
            return None
        user, tag = _read_user(members), _read_tag(members)
        if not user and not tag:
            return None
        return self.half(account, USER, user) + self.half(account, TAG, tag)

    def half(self, account: str, name: str, text: str) -> bytes:
        """Return the half of a tag that stands for a text of an account: zeros for none."""
        if not text:
            return _NOTHING
        return hmac.digest(self._secret, _encode([account, name, text]), "sha256")[:HALF_BYTES]


def name_half(name: str, tag: bytes | None) -> str:
    """Return how a half of a tag is shown, such as `user_0123456789abcdef`; empty where it stands for nothing."""
    if tag is None:
        return ""
    half = tag[:HALF_BYTES] if name == USER else tag[HALF_BYTES:]
    return "" if half == _NOTHING else f"{name}_{half.hex()}"


def _read_user(members: Mapping[str, Raw]) -> str:
    """Return the text of `user`; what is no text attributes nothing, whatever else becomes of it."""
    try:
        return _decode_user(members["user"]) if "user" in members else ""
    except msgspec.DecodeError:
        return ""


def _read_tag(members: Mapping[str, Raw]) -> str:
    try:
        return (_decode_metadata(members["metadata"]).tag if "metadata" in members else None) or ""
    except msgspec.DecodeError:
        return ""
