"""Whatever an upstream says of prices or balances is read into offers and wallets, or refused; nothing else happens."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.askedprices import (
    offer_at_cost,
    read_broker_models,
    read_governance_pricing,
    read_model_ids,
    read_session,
    translate,
)
from tallygate.core.pricing import UpstreamRate
from tallygate.core.quoting import Amounts, QuoteError, read_amount
from tallygate.core.repricing import Offer
from tallygate.core.wallets import read_account, read_bank, read_escrows

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(
    ["models", "data", "id", "pricing", "prompt", "completion", "price_per_token", "config", "balance"]
)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))
BODIES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=32)


@given(BODIES)
def test_nothing_that_is_said_breaks_a_reader(body: bytes) -> None:
    """Any body gives offers whose amounts can be counted with, or one `QuoteError`; balances are whole or not there."""
    for read in (read_governance_pricing, read_broker_models):
        try:
            offers = read("up", body)
        except QuoteError:
            continue
        for offer in offers.values():
            if isinstance(offer.amounts, Amounts):
                assert read_amount(offer.amounts.input) >= 0
    try:
        read_model_ids(body)
        read_session(body)
    except QuoteError:
        pass
    for wallet in read_escrows("up", body, 1):
        assert type(wallet.escrowed_ngonka) is int
    account, bank = read_account(200, body), read_bank(200, body)
    assert account is None or account[0] is None or account[0] >= 0
    assert bank is None or bank >= 0


def test_both_historical_shapes_list_models() -> None:
    """Models are listed by OpenAI's envelope, and by the chain's before it."""
    assert read_model_ids(b'{"object":"list","data":[{"id":"a/b"},{"id":7},{"id":"has space"}]}') == ["a/b"]
    assert read_model_ids(b'{"models":[{"id":"a/b","units_of_compute_per_token":"5"}]}') == ["a/b"]
    with pytest.raises(QuoteError):
        read_model_ids(b'{"object":"list"}')


def test_a_price_is_its_upstreams_own_unit() -> None:
    """A node's price counts in ngonka both ways, a broker's in dollars per token and request, to the last digit."""
    node = read_governance_pricing("n", b'{"models":[{"id":"m","price_per_token":100,"utilization":0.5}]}')
    assert node == {"m": Offer("n", "ngonka", Amounts("100", "100", "0"))}
    pricing = b'{"prompt":"0.00000035","completion":1.4e-6,"request":null}'
    broker = read_broker_models("b", b'{"data":[{"id":"m","pricing":' + pricing + b"},{}]}")
    assert broker == {"m": Offer("b", "usd", Amounts("0.00000035", "0.0000014", "0"))}
    assert offer_at_cost("b", ["m"], UpstreamRate(1, 2, 1000))["m"].amounts == Amounts("1", "2", "1000")


def test_names_are_translated() -> None:
    """Offers come under our ids: by the upstream's names for them, else by their own letters, in our case."""
    offer = Offer("u", "usd", Amounts("1", "1"))
    assert translate({"Theirs": offer, "x": offer}, {"ours": "theirs", "gone": "y"}, []) == {"ours": offer}
    assert translate({"ORG/m": offer, "x": offer}, None, ["Org/M"]) == {"Org/M": offer, "x": offer}
