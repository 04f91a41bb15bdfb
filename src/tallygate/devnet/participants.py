"""Who takes part in the current epoch, and how the network's public API lists it.

Shapes are those of `GET /v1/epochs/{current|N}/participants` and `GET /v1/participants`. Not simulated: validators and
their keys, seeds, and the proof that the list is on the chain; `proof_ops` is null, as it is on nodes whose second
proof query is switched off.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from tallygate.devnet.chain import NS_PER_S, Chain
from tallygate.devnet.times import show_time

WEIGHT = 1000  # of each participant alike


@dataclass(frozen=True, slots=True)
class Participant:
    """One host of the network.

    Attributes:
        address: Its address on the chain.
        public_key: Its key there.
        url: Where its node is, without /v1.
        models: What it serves.
    """

    address: str
    public_key: bytes
    url: str
    models: tuple[str, ...]


def show_active_participants(chain: Chain, participants: list[Participant]) -> dict[str, Any]:
    """Gives the participants of the epoch in charge, with those that are out since it began."""
    participants = [one for one in participants if not chain.stays_out(one.address)]
    height = chain.clock.latest().height
    index = chain.epochs.effective_index(height)
    epoch = chain.epochs.at(height)
    started = epoch if epoch.index == index else chain.epochs.at(epoch.start - 1)
    shown = {
        "participants": [_show_active(participant, index) for participant in participants],
        "epoch_group_id": index,
        "epoch_id": index,
        "poc_start_block_height": started.start,
        "effective_block_height": started.new_validators,
        "created_at_block_height": started.validation_end,
    }
    return {
        "active_participants": shown,
        "addresses": [participant.address for participant in participants],
        "active_participants_bytes": hashlib.sha256(repr(shown).encode()).hexdigest(),
        "proof_ops": None,
        "validators": [],
        "block": _show_block(chain, started.validation_end),
        "excluded_participants": [
            {"address": address, "reason": reason, "exclusion_block_height": height}
            for address, reason in chain.parameters.excluded.items()
        ],
    }


def show_participants(chain: Chain, participants: list[Participant]) -> dict[str, Any]:
    """Gives everybody who is registered, with what they are owed."""
    return {
        "participants": [
            {
                "id": participant.address,
                "url": participant.url,
                "coins_owed": 0,
                "refunds_owed": 0,
                "balance": _balance_of(chain, participant.address),
                "voting_power": WEIGHT,
                "reputation": 100,
            }
            for participant in participants
        ],
        "block_height": chain.clock.latest().height,
    }


def _show_active(participant: Participant, epoch_index: int) -> dict[str, Any]:
    return {
        "index": participant.address,
        "validator_key": "",
        "weight": WEIGHT,
        "inference_url": participant.url,
        "models": list(participant.models),
        "seed": {"participant": participant.address, "epoch_index": epoch_index, "signature": ""},
        "ml_nodes": [],
    }


def _show_block(chain: Chain, height: int) -> dict[str, Any]:
    time = show_time(chain.clock.latest().time_ns // NS_PER_S)
    return {"header": {"chain_id": chain.id, "height": str(height), "time": time}}


def _balance_of(chain: Chain, address: str) -> int:
    account = chain.find_account(address)
    return account.balance_ngonka if account else 0
