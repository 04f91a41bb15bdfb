"""From a key to a first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.pages.frame import MODELS, PRICING, QUICKSTART, REFERENCE, frame
from tallygate.api.pages.markup import prose, sample, tag

if TYPE_CHECKING:
    from tallygate.api.http import Response

_SHELL: Final = """\
export OPENAI_BASE_URL=https://gateway.example/v1
export OPENAI_API_KEY=tg-…"""

_FIRST: Final = 'curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"'

_CURL: Final = """\
curl "$OPENAI_BASE_URL/chat/completions" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -H "Idempotency-Key: order-1" \\
  -d '{"model": "MODEL", "messages": [{"role": "user", "content": "What is a ledger?"}]}'"""

_PYTHON: Final = """\
from openai import OpenAI

client = OpenAI()  # reads OPENAI_BASE_URL and OPENAI_API_KEY
stream = client.chat.completions.create(
    model="MODEL",
    messages=[{"role": "user", "content": "What is a ledger?"}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
    if chunk.usage:
        print("\\ncost in USD:", chunk.usage.total_cost_usd_exact)"""

_NODE: Final = """\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const answer = await client.chat.completions.create({
  model: "MODEL",
  messages: [{ role: "user", content: "What is a ledger?" }],
});
console.log(answer.choices[0].message.content, answer.usage.total_cost_usd_exact);"""

_BALANCE: Final = """\
curl "$OPENAI_BASE_URL/balance" -H "Authorization: Bearer $OPENAI_API_KEY"
curl "$OPENAI_BASE_URL/usage?by=model" -H "Authorization: Bearer $OPENAI_API_KEY\""""


def show_quickstart() -> Response:
    """Return the page."""
    return frame(
        QUICKSTART,
        tag(
            "p",
            prose(
                "This is a gateway to the Gonka Network that speaks OpenAI's API. Calls are paid from a prepaid "
                "balance in US dollars; each answer says what it has cost."
            ),
        ),
        tag("h2", "Key and address"),
        tag(
            "p",
            prose(
                "The operator gives you an API key, which begins with `tg-` or a prefix of the operator's, and the "
                "address of the gateway: that of this page, with `/v1` in the place of `/docs`. Every OpenAI client "
                "takes both."
            ),
        ),
        sample(_SHELL),
        tag("h2", "A model"),
        tag("p", prose("Take the id of one for `MODEL` below:")),
        sample(_FIRST),
        tag("p", "What they cost: ", tag("a", "pricing", href=PRICING), ". What they can: ", _models(), "."),
        tag("h2", "A call"),
        sample(_CURL),
        tag(
            "p",
            prose(
                "`usage` has the tokens and the cost. With an `Idempotency-Key` a call that is sent twice is made, and "
                "paid, once."
            ),
        ),
        tag("h2", "Python"),
        sample(_PYTHON),
        tag("h2", "Node"),
        sample(_NODE),
        tag("h2", "What is left"),
        sample(_BALANCE),
        tag("p", "All routes, parameters and errors: ", tag("a", "API reference", href=REFERENCE), "."),
    )


def _models() -> str:
    return tag("a", "models", href=MODELS)
