"""Which models are found, under which names."""

from __future__ import annotations

import pytest

from tallygate.core.bounding import ModelCard
from tallygate.core.catalog import Catalog
from tallygate.core.errors import Code, Refusal
from tallygate.core.pricing import Price, Sheet

PRICE = Price(1, 2)
SHEET = Sheet(1, 0, {"Qwen/Qwen3": PRICE, "only/priced": PRICE, "nowhere/served": PRICE})
CARDS = [ModelCard("Qwen/Qwen3", aliases=("qwen", "Qwen3-Latest")), ModelCard("not/priced")]


def make_catalog() -> Catalog:
    """Return a catalog whose upstreams serve all but one model."""
    return Catalog(CARDS, lambda model: model != "nowhere/served")


@pytest.mark.parametrize("name", ["Qwen/Qwen3", "qwen/qwen3", "QWEN", "qwen3-latest"])
def test_model_is_found_by_any_case_and_alias(name: str) -> None:
    """A configured model answers to its id and its aliases, in any case, and keeps its canonical id."""
    assert make_catalog().find(name, SHEET) is CARDS[0]
    assert make_catalog().canonical(name, SHEET) == "Qwen/Qwen3"


def test_priced_model_needs_no_configuration() -> None:
    """A model that is only priced is found in any case, with default limits, and priced anew as itself."""
    assert make_catalog().find("ONLY/Priced", SHEET) == ModelCard("only/priced")
    assert make_catalog().canonical("ONLY/Priced", SHEET) == "only/priced"
    assert make_catalog().canonical("New/Model", SHEET) == "New/Model"


@pytest.mark.parametrize("name", ["", "not/priced", "nowhere/served", "Qwen/Qwen", "qwen ", "*"])
def test_model_without_price_or_upstream_is_not_found(name: str) -> None:
    """What has no price, no upstream or no entry at all is `model_not_found`, naming the parameter."""
    with pytest.raises(Refusal) as refused:
        make_catalog().find(name, SHEET)

    assert refused.value.code is Code.MODEL_NOT_FOUND
    assert refused.value.param == "model"


def test_offer_lists_what_can_be_found() -> None:
    """The offer is each model once, by id, and every one of them is found under the id it is offered as."""
    catalog = make_catalog()
    offered = catalog.offered(SHEET)

    assert [card.id for card in offered] == ["Qwen/Qwen3", "only/priced"]
    assert [catalog.find(card.id, SHEET) for card in offered] == offered


def test_new_sheet_changes_the_offer_at_once() -> None:
    """The offer follows the sheet that it is asked for."""
    assert [card.id for card in make_catalog().offered(Sheet(2, 0, {"not/priced": PRICE}))] == ["not/priced"]
