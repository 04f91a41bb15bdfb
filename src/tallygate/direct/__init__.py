"""Direct access to Gonka nodes, for developers with a wallet of their own and no gateway in between.

    from tallygate.direct import Scheme, find_nodes, wallet_from_environment
    from tallygate.direct.client import connect

    client = connect(wallet_from_environment(), find_nodes(), scheme=Scheme.HASH)
    client.chat.completions.create(model="…", messages=[…])

Signed chat is what private and test networks of classic nodes take; the public mainnet answers it with 410, and takes
Bearer keys (docs/direct.md).

This package needs coincurve and msgspec. Three of its modules need more (`tallygate[direct]`) and are imported by whom
they serve: `client` (openai), `mnemonic` (mnemonic, slip10), `keystore` (pyrage). Nothing of the server lives here.
"""

from tallygate.core.address import address_from_public_key, is_address
from tallygate.core.signing import (
    InvalidSigningKeyError,
    Scheme,
    SigningKey,
    sign_request,
    signed_message,
    verify_signature,
)
from tallygate.core.timestamps import RequestTimestamps
from tallygate.direct.accounts import AccountState, look_up_account
from tallygate.direct.errors import DirectError, EndpointError, RefusedError, UnreachableError, WalletError
from tallygate.direct.network import Host, NetworkView, look_around
from tallygate.direct.nodes import Node, ask_identity, find_nodes, parse_nodes
from tallygate.direct.refusals import explain
from tallygate.direct.route import Route, sign_headers
from tallygate.direct.wallet import new_wallet, wallet_from_environment, wallet_from_file

__all__ = [
    "AccountState",
    "DirectError",
    "EndpointError",
    "Host",
    "InvalidSigningKeyError",
    "NetworkView",
    "Node",
    "RefusedError",
    "RequestTimestamps",
    "Route",
    "Scheme",
    "SigningKey",
    "UnreachableError",
    "WalletError",
    "address_from_public_key",
    "ask_identity",
    "explain",
    "find_nodes",
    "is_address",
    "look_around",
    "look_up_account",
    "new_wallet",
    "parse_nodes",
    "sign_headers",
    "sign_request",
    "signed_message",
    "verify_signature",
    "wallet_from_environment",
    "wallet_from_file",
]
