"""What a simulation does faster than the devnet, with the same result: the arithmetic of its nodes' keys.

The devnet checks every signature by a library of its own, on purpose, and slowly. Whether we sign well is not the
question here, and is asked elsewhere; so here our fast library checks, and nodes keep their keys from world to world.
"""

from __future__ import annotations

import base64
import contextlib
from functools import cache
from typing import TYPE_CHECKING
from unittest.mock import patch

from tallygate.core.signing import verify_signature
from tallygate.devnet.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

_derive = cache(Identity.derive)


def is_signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Check r‖s over the SHA-256 of a message."""
    return verify_signature(public_key, message, base64.b64encode(signature).decode())


@contextlib.contextmanager
def shortcuts() -> Iterator[None]:
    """Take the short cuts as long as the context lasts."""
    with (
        patch("tallygate.devnet.verification.is_signed_by", is_signed_by),
        patch.object(Identity, "derive", _derive),
    ):
        yield
