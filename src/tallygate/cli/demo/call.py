"""The demo's one paid call: what a customer writes, with the official `openai` client, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from tallygate.cli.exits import Exit, Failure
from tallygate.core.money import parse_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"
QUESTION = "In a few sentences: what happens to a prepaid dollar on its way through a gateway?"


class PaidCall(NamedTuple):
    """What came of the call; amounts are exact decimals of US dollars."""

    answer: str
    usages_seen: int
    prompt_tokens: int
    completion_tokens: int
    base_usd: str
    fee_usd: str
    total_usd: str

    def problems(self) -> Sequence[str]:
        """Return what is not right with it."""
        found = []
        if not self.answer.strip():
            found.append("the answer is empty")
        if self.usages_seen != 1:
            found.append(f"usage came {self.usages_seen} times, not once")
        if parse_usd(self.base_usd) + parse_usd(self.fee_usd) != parse_usd(self.total_usd):
            found.append("base cost and platform fee are not the total")
        if parse_usd(self.total_usd) <= 0:
            found.append("the call cost nothing")
        return found

    def describe(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "answer": self.answer,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "base_cost_usd": self.base_usd,
            "platform_fee_usd": self.fee_usd,
            "total_cost_usd": self.total_usd,
        }


def make_paid_call(base_url: str, api_key: str, out: TextIO) -> PaidCall:
    """Ask one question, show the answer as it arrives, and return what it was and what it cost.

    Raises:
        Failure: The call failed.
    """
    try:
        import openai  # noqa: PLC0415  (an extra of its own: only the demo needs it)
    except ImportError:
        raise Failure(Exit.FAILED, "The demo needs the official client; scripts/demo installs it.") from None

    # A proxy of the environment is not meant for this machine itself.
    with openai.DefaultHttpxClient(trust_env=False) as http_client:
        client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, http_client=http_client)
        try:
            return _stream(client, out)
        except openai.APIError as error:
            raise Failure(Exit.FAILED, f"The call failed: {error}") from None


def _stream(client: Any, out: TextIO) -> PaidCall:
    print(f"> {QUESTION}\n", file=out, flush=True)
    pieces: list[str] = []
    usages: list[Any] = []
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        stream=True,
    )
    for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            pieces.append(text)
            print(text, end="", file=out, flush=True)
        if chunk.usage:
            usages.append(chunk.usage)
    print("\n", file=out, flush=True)
    if not usages:
        raise Failure(Exit.FAILED, "The demo was not right: the answer came without usage.")
    usage = usages[-1]
    return PaidCall(
        answer="".join(pieces),
        usages_seen=len(usages),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        base_usd=usage.base_cost_usd_exact,
        fee_usd=usage.platform_fee_usd_exact,
        total_usd=usage.total_cost_usd_exact,
    )
