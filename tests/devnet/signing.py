"""A developer for devnet's tests: signs requests with python-ecdsa, the third library in the room."""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ecdsa import SECP256k1, SigningKey  # type: ignore[import-untyped]
from ecdsa.util import sigencode_string_canonize  # type: ignore[import-untyped]

from tallygate.devnet.identity import derive_address

MODEL = "MiniMaxAI/MiniMax-M2.7"


@dataclass(frozen=True)
class Developer:
    """Somebody with a key."""

    private_key: bytes

    @property
    def public_key(self) -> bytes:
        """The compressed public key."""
        key = SigningKey.from_string(self.private_key, curve=SECP256k1)
        return bytes(key.verifying_key.to_string("compressed"))

    @property
    def address(self) -> str:
        """The address on the chain."""
        return derive_address(self.public_key)

    def sign(self, message: bytes) -> str:
        """Signs as the protocol asks: r||s, low S, base64."""
        key = SigningKey.from_string(self.private_key, curve=SECP256k1)
        signature = key.sign_deterministic(message, hashfunc=hashlib.sha256, sigencode=sigencode_string_canonize)
        return base64.b64encode(signature).decode()

    def headers(self, body: bytes, timestamp_ns: int, node_address: str, scheme: str = "hash") -> dict[str, str]:
        """Gives the headers of a signed request."""
        payload = body if scheme == "raw" else hashlib.sha256(body).hexdigest().encode()
        message = payload + str(timestamp_ns).encode() + node_address.encode()
        return {
            "content-type": "application/json",
            "authorization": self.sign(message),
            "x-requester-address": self.address,
            "x-timestamp": str(timestamp_ns),
        }


def chat_body(content: Any = "What does a token cost?", **fields: Any) -> bytes:
    """Gives a chat request's body."""
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": MODEL, "messages": messages, **fields}).encode()
