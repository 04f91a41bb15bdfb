"""Which models there are: cards by canonical id, found by any case and any alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.bounding import ModelCard
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tallygate.core.pricing import Sheet


class Catalog:
    """The models that are configured, and those that are only priced (served by an upstream that takes any id).

    Args:
        cards: The configured models.
        serves: Whether any upstream takes a canonical id.
    """

    def __init__(self, cards: Iterable[ModelCard], serves: Callable[[str], bool]) -> None:
        self._serves = serves
        self._by_name: dict[str, ModelCard] = {}
        for card in cards:
            for name in (card.id, *card.aliases):
                self._by_name[name.lower()] = card

    def find(self, name: str, sheet: Sheet) -> ModelCard:
        """Return the card of a model that can be served now.

        Raises:
            Refusal: There is no such model, or it has no price yet.
        """
        card = self._by_name.get(name.lower()) or self._priced(name, sheet)
        if card is None or card.id not in sheet.prices or not self._serves(card.id):
            raise Refusal(Code.MODEL_NOT_FOUND, param="model")
        return card

    def offered(self, sheet: Sheet) -> Sequence[ModelCard]:
        """Return the models that can be served now, by id."""
        named = {name: self._by_name.get(name.lower()) or ModelCard(name) for name in sheet.prices}
        cards = {card.id: card for card in named.values() if card.id in sheet.prices and self._serves(card.id)}
        return [cards[name] for name in sorted(cards)]

    def identify(self, name: str, sheet: Sheet) -> str | None:
        """Return a model's canonical id, None for one that is neither configured nor priced."""
        card = self._by_name.get(name.lower()) or self._priced(name, sheet)
        return None if card is None else card.id

    def canonical(self, name: str, sheet: Sheet) -> str:
        """Return a model's canonical id, or the name itself for one that is neither configured nor priced."""
        return self.identify(name, sheet) or name

    def _priced(self, name: str, sheet: Sheet) -> ModelCard | None:
        lowered = name.lower()
        return next((ModelCard(priced) for priced in sheet.prices if priced.lower() == lowered), None)
