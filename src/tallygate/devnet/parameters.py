"""What the chain's governance decides and a test may change while a devnet runs: prices, doors, limits, who is out.

Only a record lives here. Each node reads it at every call, as a node reads the chain's parameters.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Parameters:
    """The parameters of the moment.

    Attributes:
        price_ngonka: What a token costs from now on; 0 is legal, and mainnet's price in the grace period.
        allowed_transfer_addresses: Which nodes may take requests; empty allows all.
        excluded: Which participants of the current epoch are out, and why.
        restricted_until_height: Before this block only `allowed_developers` are served; 0 is no restriction.
        allowed_developers: Whom the restriction does not concern.
        kb_per_block: What one node may take in per block, in KB of the chain's estimate; None is no limit.
        delegates: What `/v1/identity` says of nodes that take requests for this one: URL to address.
    """

    price_ngonka: int = 1
    allowed_transfer_addresses: tuple[str, ...] = ()
    excluded: dict[str, str] = field(default_factory=dict)
    restricted_until_height: int = 0
    allowed_developers: tuple[str, ...] = ()
    kb_per_block: int | None = None
    delegates: dict[str, str] = field(default_factory=dict)
