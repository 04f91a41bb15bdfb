"""What can go wrong for a direct developer, by whose turn it is to change something. Every message says what to change.

Invariant: no message holds a private key, or the text that was taken for one.
"""

from __future__ import annotations


class DirectError(Exception):
    """Direct access does not work as it was asked for."""


class WalletError(DirectError):
    """There is no usable wallet: a key, a mnemonic, a file or a passphrase is missing or wrong."""


class EndpointError(DirectError):
    """There is no usable node: a URL, an address or a list of them is missing or wrong."""


class UnreachableError(DirectError):
    """A node cannot be reached, or broke off; nothing, or only a part, of an answer has come."""


class RefusedError(DirectError):
    """A node has answered, and said no.

    Args:
        status: The HTTP status.
        said: What the node said.
        advice: What to change.
    """

    def __init__(self, status: int, said: str, advice: str) -> None:
        super().__init__(f"The node answered {status}: {said or '(nothing)'}\n{advice}")
        self.status = status
        self.said = said
        self.advice = advice
