"""The check of a signed request, in the order and with the words of a classic node.

Written from the protocol alone and with another library than the gateway's, because the gateway's
signatures are checked against it: nothing of `core` may be imported here. No HTTP, no chain writes.
"""

import base64
import binascii
import hashlib
import re

from tallygate.devnet.chain import NS_PER_S, Account, Block, Chain
from tallygate.devnet.identity import is_signed_by
from tallygate.devnet.settings import Scheme

EXPIRATION_NS = 60 * NS_PER_S  # timestamp_expiration in the chain's default parameters
ADVANCE_NS = 30 * NS_PER_S  # timestamp_advance in the chain's default parameters
REPLAY_BLOCKS = 30  # max(4, 2 * expiration in seconds / 4)
DECIMAL = re.compile(r"[+-]?[0-9]{1,19}")


class RefusedError(Exception):
    """A node refuses a request.

    Attributes:
        status: The HTTP status.
        message: The text of the error, exactly as a node words it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def build_signed_bytes(scheme: Scheme, body: bytes, timestamp_ns: int, node_address: str) -> bytes:
    """Gives the bytes that a developer signs for a node; a timestamp of 0 or less is left out."""
    payload = body if scheme is Scheme.RAW else hashlib.sha256(body).hexdigest().encode("ascii")
    timestamp = str(timestamp_ns) if timestamp_ns > 0 else ""
    return payload + timestamp.encode("ascii") + node_address.encode("ascii")


def parse_timestamp(text: str) -> int:
    """Reads X-Timestamp; whatever is not a 64-bit decimal counts as 0, and so as too old."""
    if not DECIMAL.fullmatch(text):
        return 0
    timestamp_ns = int(text)
    return timestamp_ns if -(2**63) <= timestamp_ns < 2**63 else 0


def find_published_account(chain: Chain, address: str) -> tuple[Account, bytes]:
    """Gives the requester's account and its public key (row 8).

    Raises:
        RefusedError: 500, because a node passes the chain's own error on.
    """
    account = chain.find_account(address)
    if account is None:
        raise RefusedError(500, "rpc error: code = NotFound desc = account not found")
    if account.public_key is None:
        raise RefusedError(500, "rpc error: code = NotFound desc = account has no public key")
    return account, account.public_key


def verify_signature(public_key: bytes, signed: bytes, text: str) -> bool:
    """Says whether a signature in base64 is a key's over some bytes."""
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return is_signed_by(public_key, signed, signature)


def check_signature(public_key: bytes, signed: bytes, authorization: str) -> None:
    """Checks the signature in Authorization (row 9).

    Raises:
        RefusedError: 401 for a wrong key, scheme, node address, body or timestamp alike.
    """
    if not verify_signature(public_key, signed, authorization):
        raise RefusedError(401, "Unable to validate request against PubKey:invalid signature")


def check_timestamp(timestamp_ns: int, block: Block, scheme: Scheme = Scheme.HASH) -> None:
    """Compares a timestamp with the latest block's time, not with any wall clock (row 12).

    Raises:
        RefusedError: 400 outside of the window, in the words of the version that takes the scheme.
    """
    age_ns = block.time_ns - timestamp_ns
    what = "Request timestamp" if scheme is Scheme.RAW else "signature"
    if age_ns > EXPIRATION_NS:
        raise RefusedError(400, f"{what} is too old")
    if age_ns < -ADVANCE_NS:
        raise RefusedError(400, f"{what} is in the future")


class ReplayGuard:
    """One node's memory of the signatures that it has already accepted, in one of its roles."""

    def __init__(self, role: str = "transfer") -> None:
        self._words = f"AuthKey has already been used for {'an' if role == 'executor' else 'a'} {role} request"
        self._heights: dict[str, int] = {}  # in the order of acceptance, so the oldest comes first

    def check(self, signature: str, block: Block) -> None:
        """Accepts a signature once (row 13).

        Raises:
            RefusedError: 400 when it was used before.
        """
        self._forget(block.height - REPLAY_BLOCKS)
        if signature in self._heights:
            raise RefusedError(400, self._words)
        self._heights[signature] = block.height

    def _forget(self, before_height: int) -> None:
        while self._heights:
            signature, height = next(iter(self._heights.items()))
            if height >= before_height:
                return
            del self._heights[signature]
