"""How the record of an inference is shown to who asks what it cost: by a classic node, and by the Bearer gateway.

Both are Go programs that encode structs: a member that is zero or empty is left out where the original says so, and a
classic node shows the chain's status as its number. Shapes and names are those of the network's sources (the chain's
`Inference`, served by `GET /v1/chat/completions?id=`; `devshardctl`'s request accounting, `GET /v1/requests/{id}`).
The gateway's own times of a request and the hashes and signatures of the chain are left out.

`actual_cost` is what the tokens cost. The gateway's fee per nonce is in none of its attempts: it stands in the
session's `config`, which `GET /v1/status` shows, and is due once for each attempt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tallygate.devnet.chain import Chain, Inference, InferenceStatus

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
CHAIN_NUMBERS = {InferenceStatus.STARTED: 0, InferenceStatus.FINISHED: 1, InferenceStatus.EXPIRED: 5}
DEVSHARD_NAMES = {
    InferenceStatus.STARTED: "started",
    InferenceStatus.FINISHED: "finished",
    InferenceStatus.EXPIRED: "timed_out",
}


def show_inference(chain: Chain, inference: Inference) -> dict[str, Any]:
    """Gives the chain's record as a classic node shows it; zeros are left out."""
    ended = inference.ended
    record = {
        "index": inference.id,
        "inference_id": inference.id,
        "prompt_token_count": inference.prompt_tokens,
        "completion_token_count": inference.completion_tokens,
        "requested_by": inference.requester,
        "executed_by": inference.node_address,
        "status": CHAIN_NUMBERS[chain.status_of(inference)],
        "start_block_height": inference.started.height,
        "end_block_height": ended.height if ended else 0,
        "start_block_timestamp": inference.started.time_ns // NS_PER_MS,
        "end_block_timestamp": ended.time_ns // NS_PER_MS if ended else 0,
        "model": inference.model,
        "max_tokens": inference.max_tokens,
        "actual_cost": inference.tokens_ngonka,
        "escrow_amount": inference.escrow_ngonka,
        "assigned_to": inference.node_address,
        "transferred_by": inference.node_address,
        "per_token_price": inference.price_ngonka,
    }
    return _leave_out_zeros(record)


class Attempt(NamedTuple):
    """One of the Bearer gateway's attempts: the chain's record of it, and its number in the session."""

    inference: Inference
    nonce: int


def show_request(chain: Chain, attempts: Sequence[Attempt], escrow_id: str) -> dict[str, Any]:
    """Gives the accounting of a Bearer request; its first attempt is its winner, if that has finished."""
    first = attempts[0].inference
    has_won = chain.status_of(first) is InferenceStatus.FINISHED
    all_shown = [_show_attempt(chain, attempt, host) for host, attempt in enumerate(attempts)]
    all_shown[0]["winner"] = has_won
    cost, others = first.tokens_ngonka, sum(attempt.inference.tokens_ngonka for attempt in attempts[1:])
    shown: dict[str, Any] = {
        "request_id": first.request_id,
        "escrow_id": escrow_id,
        "model": first.model,
        "outcome": "success" if has_won else "started",
        "attempts": all_shown,
        "cost": {
            "winner_actual_cost": cost,
            "other_attempts_actual_cost": others,
            "all_attempts_actual_cost": cost + others,
        },
    }
    if has_won:
        shown |= {"winner_nonce": attempts[0].nonce, "winner": all_shown[0]}
    return shown


def _show_attempt(chain: Chain, attempt: Attempt, host: int) -> dict[str, Any]:
    inference = attempt.inference
    return {
        "nonce": attempt.nonce,
        "host_idx": host,
        "participant_key": inference.node_address,
        "probe": False,
        "winner": False,
        "status": DEVSHARD_NAMES[chain.status_of(inference)],
        **_leave_out_zeros(
            {
                "model": inference.model,
                "input_length": inference.input_bytes,
                "max_tokens": inference.max_tokens,
                "input_tokens": inference.prompt_tokens,
                "output_tokens": inference.completion_tokens,
                "reserved_cost": inference.escrow_ngonka,
                "actual_cost": inference.tokens_ngonka,
                "started_at": inference.started.time_ns // NS_PER_S,
            }
        ),
    }


def show_session(escrow_id: str, nonce: int, balance_ngonka: int, price_ngonka: int, fee_ngonka: int) -> dict[str, Any]:
    """Gives the status of a Bearer gateway's session, with what it pays per token and per nonce."""
    return {
        "escrow_id": escrow_id,
        "nonce": nonce,
        "phase": "active",
        "balance": balance_ngonka,
        "config": {"token_price": price_ngonka, "fee_per_nonce": fee_ngonka},
    }


def _leave_out_zeros(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value}
