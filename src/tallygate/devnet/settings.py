"""What a devnet is made of: addresses, schemes, pace and price, all with defaults that suit a demo.

Only frozen records live here, and no reading of files or of the environment: the caller fills them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from tallygate.devnet.chain import CHAIN_ID
from tallygate.devnet.epochs import EPOCH_BLOCKS

DEFAULT_MODELS = (
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
    "Qwen/Qwen3-32B-FP8",
    "MiniMaxAI/MiniMax-M2.7",
    "moonshotai/Kimi-K2.6",
)
DEFAULT_BEARER_KEY = "devnet-bearer-key"
DEFAULT_BEARER_ADMIN_KEY = "devnet-admin-key"


class Scheme(StrEnum):
    """How a node wants a request signed; a node accepts exactly one.

    Attributes:
        HASH: hex(sha256(body)) + timestamp + node address (nodes v0.2.6 to v0.2.13).
        RAW: body + timestamp + node address (nodes up to v0.2.5).
        DEPRECATED: none; chat answers 410 (nodes from v0.2.14).
    """

    HASH = "hash"
    RAW = "raw"
    DEPRECATED = "deprecated"


class ModelList(StrEnum):
    """How a node lists its models.

    Attributes:
        CHAIN: `{"models": [...]}`, the chain's own records (nodes up to v0.2.11).
        OPENAI: OpenAI's list (nodes from v0.2.12 on).
    """

    CHAIN = "chain"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One classic node.

    Attributes:
        scheme: The one signature scheme that it accepts.
        return_token_ids: Whether answers carry `token_ids` and `prompt_token_ids`, as nodes do that
            are newer than v0.2.13.
        models_as: How it lists its models; the seed's clients know both ways.
    """

    scheme: Scheme = Scheme.HASH
    return_token_ids: bool = True
    models_as: ModelList = ModelList.OPENAI


@dataclass(frozen=True, slots=True)
class DevnetSettings:
    """A whole devnet.

    Attributes:
        host: Where every port listens.
        base_port: The first node's port; the others follow, the Bearer port last. 0 takes any free
            ports.
        nodes: The classic nodes, in the order of their ports.
        pace_ms: Milliseconds between two tokens of an answer; 0 is as fast as possible.
        price_ngonka: Price of one token, prompt and completion alike.
        attempt_ngonka: What the Bearer personality pays for every attempt besides its tokens; mainnet's gateways pay
            1,000.
        models: The model names that are served.
        bearer_key: The only key that the Bearer personality accepts of its callers.
        bearer_admin_key: The key of its operator, which opens its admin routes too.
        bearer_concurrency: Calls in flight above which the Bearer personality answers 429.
        bearer_race: How many hosts the Bearer personality has answer each request; one answer is shown, all are paid.
        operator_balance_ngonka: What the Bearer personality's own account starts with.
        seed: The number that makes the world: node keys, the Bearer session's name and the chance of faults follow
            from it.
        block_interval_ns: Time between two blocks.
        stall_limit_s: How long a stalling fault waits for the client to leave.
        chain_id: The chain's name, which transactions are signed for.
        epoch_blocks: How many blocks an epoch has; each begins with a quiet window.
    """

    host: str = "127.0.0.1"
    base_port: int = 9000
    nodes: tuple[NodeSettings, ...] = field(default=(NodeSettings(),) * 3)
    pace_ms: int = 20
    price_ngonka: int = 1
    attempt_ngonka: int = 0
    models: tuple[str, ...] = DEFAULT_MODELS
    bearer_key: str = DEFAULT_BEARER_KEY
    bearer_admin_key: str = DEFAULT_BEARER_ADMIN_KEY
    bearer_concurrency: int = 1024
    bearer_race: int = 1
    operator_balance_ngonka: int = 1_000_000_000_000_000
    seed: int = 1
    block_interval_ns: int = 5_000_000_000
    stall_limit_s: int = 120
    chain_id: str = CHAIN_ID
    epoch_blocks: int = EPOCH_BLOCKS
