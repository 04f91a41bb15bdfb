"""What may be said of a model."""

from __future__ import annotations

import re
from typing import Final

from tallygate.config import kinds, places
from tallygate.config.keys import Section, defaulting, optional
from tallygate.config.schema.bounds import TOKENS_MAX
from tallygate.core import ids
from tallygate.core.openai.features import USUAL

MODEL_ID: Final = kinds.Text("a model id: letters, digits and . _ : / @ + -", ids.MODEL_ID)
FEATURE: Final = kinds.Text("a feature, such as tools", re.compile(r"[a-z0-9_-]{1,32}"))

NAME: Final = kinds.Text(
    "a name of at most 100 letters, digits, spaces and . , : + ' / & ( ) _ -", re.compile(r"\w[\w .,:+'/&()-]{0,99}")
)


class Model(Section):
    """One model that callers may ask for. Ids are matched without regard to case.

    Prices must be exact: write them as texts. Without any, the model is priced with `tallygate prices set`, and
    refused until then. A price of zero needs `free = true`.
    """

    title = '[models."<id>"]'
    name = optional(NAME, "its id", "What people call it; shown to callers.")
    aliases = defaulting(kinds.Array("an array of model ids"), [], "Other ids that callers may use.")
    context_length = optional(
        kinds.Whole(1, TOKENS_MAX), "not known", "The most tokens of prompt and answer together; shown to callers."
    )
    max_output_tokens = optional(
        kinds.Whole(1, TOKENS_MAX),
        "4096, or `context_length` if that is less",
        "The most tokens of one answer; callers who ask for more get this.",
    )
    default_max_tokens = optional(
        kinds.Whole(1, TOKENS_MAX),
        "4096, or `max_output_tokens` if that is less",
        "The most tokens of an answer whose caller has set no limit. Money for so many is set aside.",
    )
    template_tokens = defaulting(
        kinds.Whole(0, TOKENS_MAX), 64, "The most tokens that the chat template adds to a prompt."
    )
    tools_tokens = defaulting(kinds.Whole(0, TOKENS_MAX), 512, "The most that it adds when tools are given.")
    features = defaulting(
        kinds.Array("an array of features"),
        list(USUAL),
        "What it can do beyond chat, all of it: `tools`, `json_mode`, `structured_outputs` and `thinking` decide about "
        "the parameters that need them; others are only shown to callers.",
    )
    tokenizer_file = optional(
        places.FileName(),
        "none: by bytes per token, learned",
        "The model's own tokenizer (`tokenizer.json`), to count what an upstream does not tell. "
        "Needs the extra `tokenizers`.",
    )
    input_usd_per_1m = optional(kinds.USD_PER_MILLION, "not priced", "Dollars per million prompt tokens.")
    output_usd_per_1m = optional(kinds.USD_PER_MILLION, "not priced", "Dollars per million completion tokens.")
    usd_per_call = optional(kinds.USD, "0", "Dollars per call.")
    free = defaulting(kinds.Flag(), default=False, meaning="Whether it costs nothing.")
