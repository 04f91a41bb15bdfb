"""The one place where waiting meets money: takes a checked request through its life.

A call is driven by the table in `core.inference`: everything that happens is one of its events, and the table says
what it means for the money. What this package adds is order: the hold is durable before the request leaves, the
charge is durable before the caller sees the end of the answer, and whatever happens in between, the hold has one
ending.

`relay` is what calls have in common, `life` one call from hold to ending, `part` a prompt of it that is sent by itself
(several run `together`), `dispatch` sends a part until a first byte comes, `reply` is what the caller sees, `watch`
turns a caller's leaving into an event. Nothing here knows of the HTTP server in front (a `Sink` takes what goes to the
caller) or of the sockets behind (a `Target` sends).
"""

from tallygate.relay.call import Call
from tallygate.relay.relay import Relay
from tallygate.relay.reply import Sink

__all__ = ["Call", "Relay", "Sink"]
