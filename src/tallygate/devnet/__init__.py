"""A faithful simulated Gonka Network, to develop and test against without spending anything.

A devnet is one simulated chain (accounts, blocks, inferences; amounts in ngonka) with any number of
classic nodes, which take signed requests, and one Bearer gateway like the official `devshardctl`.
All of them answer with a built-in, deterministic answerer. Every port has control routes under
`/devnet/` to fund accounts, order faults, move the block clock and read the state.

It is the gateway's independent check: signatures and addresses are verified by another library, and
nothing of `tallygate.core`, `api`, `network` or `relay` is imported here. Where to look:

- `network`: the whole, `Devnet` and `serve`; `settings`: what it is made of; `hosts`: its ports
- `node` and `bearer`: the two personalities; `controls`, `inputs`: the routes under /devnet/
- `verification`, `identity`: signatures and addresses; `gates`: who is served, and how much; `execution`: a node's
  second role; `session`, `passing`: what the Bearer gateway's operator sets, and what its callers may say
- `chain`: accounts, blocks, escrow; `epochs`, `parameters`: what holds when; `transactions`, `protobuf`: how keys are
  published
- `public`, `chainapi`, `participants`, `catalog`, `times`: what can be looked up
- `calls`, `answerer`, `schema`, `tokens`: a request understood and answered (`Engine` is the seam); `remote`, `client`:
  an engine elsewhere
- `records`: what an inference cost, shown to who asks for it later
- `rendering`, `delivery`: an answer shown; `faults`: what goes wrong on order; `server`: HTTP

Example:
    async with Devnet(DevnetSettings(base_port=0, pace_ms=0)) as devnet:
        url, address = devnet.nodes[0].url, devnet.nodes[0].address
"""

from tallygate.devnet.answerer import Counted, Ending, Engine, EngineEvent, Piece, Prompt
from tallygate.devnet.calls import ChatCall, Message, Tool
from tallygate.devnet.epochs import EPOCH_BLOCKS_MIN
from tallygate.devnet.network import Devnet, NodeAddress, serve
from tallygate.devnet.port import DevnetPortBusyError
from tallygate.devnet.remote import RemoteEngine
from tallygate.devnet.settings import DevnetSettings, ModelList, NodeSettings, Scheme

__all__ = [
    "EPOCH_BLOCKS_MIN",
    "ChatCall",
    "Counted",
    "Devnet",
    "DevnetPortBusyError",
    "DevnetSettings",
    "Ending",
    "Engine",
    "EngineEvent",
    "Message",
    "ModelList",
    "NodeAddress",
    "NodeSettings",
    "Piece",
    "Prompt",
    "RemoteEngine",
    "Scheme",
    "Tool",
    "serve",
]
