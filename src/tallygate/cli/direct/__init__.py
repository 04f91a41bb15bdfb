"""Commands for developers with a wallet of their own, who speak to Gonka nodes without a gateway in between.

They need no configuration. What they mean is in `tallygate.direct`; here are their words, and how they end.
"""

from tallygate.cli.direct.account import account
from tallygate.cli.direct.nodes import nodes
from tallygate.cli.direct.send_request import send_request
from tallygate.cli.direct.signatures import sign, verify_signature
from tallygate.cli.direct.wallet import wallet

COMMANDS = (send_request, sign, verify_signature, wallet, account, nodes)
"""All of them."""
