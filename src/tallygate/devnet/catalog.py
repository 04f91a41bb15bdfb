"""What is served and what it costs, in every shape that the network's nodes have shown it in.

`GET /v1/models` of nodes up to v0.2.11 lists the chain's own records; from v0.2.12 on it is OpenAI's list. Prices: the
legacy one (units of compute), and the current dynamic one (`/v1/governance/pricing`), which is what a token costs.
"""

from typing import Any

from tallygate.devnet.chain import Chain

CONTEXT_LENGTH = 131_072
CREATED_S = 1_770_000_000
UNITS_PER_TOKEN = 1
UNIT_NGONKA = 1000  # the chain's fallback, `PerTokenCost`
CAPACITY_TOKENS = 1_000_000  # of a model per window, for show
PROPOSER = "gonka10d07y265gmmuvt4z0w9aw880jnsr700j2h5m33"  # the chain's governance module account


def list_models(models: tuple[str, ...]) -> dict[str, Any]:
    """Gives OpenAI's list, as newer nodes show it."""
    data = [
        {
            "object": "model",
            "id": model,
            "hugging_face_id": model,
            "name": model.rpartition("/")[2],
            "created": CREATED_S,
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "context_length": CONTEXT_LENGTH,
            "max_output_length": CONTEXT_LENGTH,
        }
        for model in models
    ]
    return {"object": "list", "data": data}


def list_chain_models(models: tuple[str, ...]) -> list[dict[str, Any]]:
    """Gives the chain's own records of its models; numbers are texts, as everywhere in its JSON."""
    return [
        {
            "proposed_by": PROPOSER,
            "id": model,
            "units_of_compute_per_token": str(UNITS_PER_TOKEN),
            "hf_repo": model,
            "hf_commit": "",
            "model_args": [],
            "v_ram": "640",
            "throughput_per_nonce": "10000",
            "validation_threshold": {"value": "85", "exponent": -2},
        }
        for model in models
    ]


def show_legacy_prices(models: tuple[str, ...]) -> dict[str, Any]:
    """Gives the prices that `/v1/pricing` has shown ever since, whatever a token costs now."""
    prices = [
        {
            "id": model,
            "units_of_compute_per_token": UNITS_PER_TOKEN,
            "price_per_token": UNITS_PER_TOKEN * UNIT_NGONKA,
        }
        for model in models
    ]
    return {"unit_of_compute_price": UNIT_NGONKA, "models": prices, "dynamic_pricing_enabled": False}


def show_prices(chain: Chain, models: tuple[str, ...]) -> dict[str, Any]:
    """Gives what a token of each model costs in the latest block."""
    prices = [
        {
            "id": model,
            "units_of_compute_per_token": UNITS_PER_TOKEN,
            "price_per_token": chain.parameters.price_ngonka,
            "utilization": 0.0,
            "capacity": CAPACITY_TOKENS,
        }
        for model in models
    ]
    return {"unit_of_compute_price": UNIT_NGONKA, "models": prices, "dynamic_pricing_enabled": True}
