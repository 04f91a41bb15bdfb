"""From `[models."<id>"]` to settings: ids that must not clash, limits that must agree, and prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tallygate.config.kinds import WrongValueError
from tallygate.config.schema.models import FEATURE, MODEL_ID, Model
from tallygate.config.settings import ModelSettings
from tallygate.config.tables import Attempt, BrokenError, Table, take_made
from tallygate.core.bounding import ModelCard
from tallygate.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tallygate.config.keys import Key
    from tallygate.config.kinds import Kind
    from tallygate.config.lines import KeyPath
    from tallygate.config.settings import UpstreamSettings
    from tallygate.config.tables import Report
    from tallygate.config.upstreams import Surroundings

OUTPUT_TOKENS: Final = 4096
"""The limit of an answer where nothing else is said: the network's own gateway caps answers there."""

PROGRAM_TOKENS: Final = 3072
"""What the network's own gateway program gives an answer whose caller sets no limit."""

_PRICES: Final = (Model.input_usd_per_1m, Model.output_usd_per_1m, Model.usd_per_call)


def read_models(raw: Mapping[str, object], around: Surroundings) -> tuple[ModelSettings, ...]:
    """Return the models that can be made; the problems of the others have been noted."""
    taken: dict[str, str] = {}
    report = around.report
    tables = {model: Table(Model, table, ("models", model), report) for model, table in raw.items()}
    # All ids come before all aliases, so that a clash is told of the alias, which is easier to change.
    for model in tables:
        _claim(model, model, ("models", model), taken, report)
    return take_made(Attempt(_read_model, model, table, taken, around) for model, table in tables.items())


def default_to_programs(
    models: Iterable[ModelSettings], raw: Mapping[str, object], upstreams: Iterable[UpstreamSettings]
) -> tuple[ModelSettings, ...]:
    """Return the models, with the default of the network's gateway program where it serves one that has no other."""
    served = [upstream.models for upstream in upstreams if upstream.program != "other"]
    names = {ours.lower() for names in served if names is not None for ours in names}
    return tuple(
        _default_to_program(model)
        if _says_none(raw, model) and (None in served or model.card.id.lower() in names)
        else model
        for model in models
    )


def _says_none(raw: Mapping[str, object], model: ModelSettings) -> bool:
    table = raw.get(model.card.id)
    return isinstance(table, dict) and Model.default_max_tokens.name not in table


def _default_to_program(model: ModelSettings) -> ModelSettings:
    tokens = min(PROGRAM_TOKENS, model.card.output_tokens_default)
    return replace(model, card=replace(model.card, output_tokens_default=tokens))


def refuse_aliases(upstreams: Iterable[UpstreamSettings], models: Iterable[ModelSettings], report: Report) -> None:
    """Note every upstream that names a model by an alias, since it would never be asked for it."""
    owners = {alias.lower(): model.card.id for model in models for alias in model.card.aliases}
    for index, upstream in enumerate(upstreams):
        for ours in upstream.models or ():
            if (owner := owners.get(ours.lower())) is not None:
                path = ("upstreams", index, "models", ours)
                report.add(path, "is an alias, and models are known by their id here.", f"Write {owner}.")


def check_id(name: str, path: KeyPath, report: Report) -> bool:
    """Return whether a key is an id of a model, and note why not."""
    try:
        MODEL_ID.read(name)
    except WrongValueError as error:
        report.add(path, f"stands for an id that {error.complaint}", error.remedy)
        return False
    return True


def _claim(name: str, model: str, path: KeyPath, taken: dict[str, str], report: Report) -> None:
    if not check_id(name, path, report):
        return
    if name.lower() in taken:
        complaint = f"is taken by models.{taken[name.lower()]}: ids are matched without regard to case."
        report.add(path, complaint, "Remove or rename one of the two.")
    else:
        taken[name.lower()] = model


def _read_model(model: str, table: Table, taken: dict[str, str], around: Surroundings) -> ModelSettings:
    report = around.report
    aliases = Attempt(_read_aliases, model, table, taken, report)
    features = Attempt(_read_texts, table, Model.features, FEATURE, report)
    limits = Attempt(_read_limits, table)
    price = Attempt(_read_price, table)
    tokenizer_file = Attempt(around.find_file, table, Model.tokenizer_file)
    output_tokens_max, output_tokens_default = limits.take()
    card = ModelCard(
        id=model,
        name=table[Model.name],
        aliases=aliases.take(),
        context_length=table[Model.context_length],
        output_tokens_max=output_tokens_max,
        output_tokens_default=output_tokens_default,
        template_tokens=table[Model.template_tokens],
        tools_tokens=table[Model.tools_tokens],
        features=features.take(),
    )
    return ModelSettings(card, price.take(), tokenizer_file.take())


def _read_aliases(model: str, table: Table, taken: dict[str, str], report: Report) -> tuple[str, ...]:
    aliases = _read_texts(table, Model.aliases, MODEL_ID, report)
    for index, alias in enumerate(aliases):
        _claim(alias, model, table.at(Model.aliases, index), taken, report)
    return aliases


def _read_texts(table: Table, key: Key[Sequence[Any]], kind: Kind[str], report: Report) -> tuple[str, ...]:
    texts, is_broken = [], False
    values = table[key]
    for index, value in enumerate(values):
        try:
            texts.append(kind.read(value))
        except WrongValueError as error:
            report.add(table.at(key, index), error.complaint, error.remedy)
            is_broken = True
    if is_broken:
        raise BrokenError
    return tuple(texts)


def _read_limits(table: Table) -> tuple[int, int]:
    """Return the most tokens of an answer, and the most of one whose caller says nothing."""
    context = table[Model.context_length]
    most = table[Model.max_output_tokens]
    if most is None:
        most = OUTPUT_TOKENS if context is None else min(OUTPUT_TOKENS, context)
    elif context is not None and most > context:
        raise table.broken(Model.max_output_tokens, "is above context_length.", "Lower it, or raise context_length.")
    default = table[Model.default_max_tokens]
    if default is None:
        default = min(OUTPUT_TOKENS, most)
    elif default > most:
        complaint = f"is above max_output_tokens, which is {most}."
        raise table.broken(Model.default_max_tokens, complaint, "Lower it, or raise max_output_tokens.")
    return most, default


def _read_price(table: Table) -> Price | None:
    given = [key for key in _PRICES if table.has(key)]
    if table[Model.free]:
        if given:
            raise table.broken(Model.free, f"stands beside {given[0].name}.", "Remove the prices, or free = true.")
        return Price(0, 0, 0, free=True)
    if not given:
        return None
    prices = [table[key] for key in _PRICES]
    per_input, per_output, per_call = prices
    if (per_input is None) != (per_output is None):
        missing = Model.input_usd_per_1m if per_input is None else Model.output_usd_per_1m
        raise table.broken(None, f"has no {missing.name}.", f'Write {missing.name}, too; "0" if it costs nothing.')
    if not any(prices):
        raise table.broken(given[0], "and the other prices are zero.", "Write a price, or free = true in their place.")
    try:
        return Price(per_input or 0, per_output or 0, per_call or 0)
    except ValueError:
        pass  # The complaint is made outside, so that it is not chained to anything.
    raise table.broken(given[0], "or another price is too high.", "At most $1000 per million tokens and per call.")
