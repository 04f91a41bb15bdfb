"""The official OpenAI client for Python, of whichever major version its environment has."""

import asyncio
import json
import os
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

ACCESS: Any = {
    "base_url": os.environ["TALLYGATE_BASE_URL"],
    "api_key": os.environ["TALLYGATE_API_KEY"],
    "max_retries": 0,
}
MODEL = os.environ["MODEL"]
QUESTION: Any = [{"role": "user", "content": os.environ["QUESTION"]}]
TOOL: Any = json.loads(os.environ["TOOL"])
CHOICE: Any = {"type": "function", "function": {"name": TOOL["function"]["name"]}}


class Answer(BaseModel):
    """What a parsed output is parsed into."""

    title: str
    score: int
    tags: list[str]


def tell(client: OpenAI) -> dict[str, Any]:
    """Use the client as its documentation shows, and return what came of it."""
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION)
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))
    with client.chat.completions.stream(model=MODEL, messages=QUESTION) as stream:
        stream.until_done()
        helped = stream.get_final_completion()
    called = client.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=CHOICE)
    (call,) = called.choices[0].message.tool_calls or ()
    calling = client.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=CHOICE, stream=True
    )
    deltas = [delta for chunk in calling if chunk.choices for delta in chunk.choices[0].delta.tool_calls or ()]
    told = client.chat.completions.create(
        model=MODEL,
        messages=[
            *QUESTION,
            called.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "42"},
        ],
        tools=[TOOL],
    )
    parsed = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Answer)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    return {
        "version": openai.__version__,
        "models": [model.id for model in client.models.list()],
        "texts": [
            whole.choices[0].message.content,
            "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
            helped.choices[0].message.content,
            raw.parse().choices[0].message.content,
        ],
        "usages": [whole.usage.model_dump(), *(chunk.usage.model_dump() for chunk in chunks if chunk.usage)],
        "calls": [
            call.function.arguments,
            "".join(delta.function.arguments or "" for delta in deltas),
        ],
        "after_tool": told.choices[0].message.content,
        "parsed": parsed.choices[0].message.parsed.model_dump(),
        "request_ids": [whole._request_id, raw.headers["x-request-id"]],
        "inference_id": raw.headers["x-inference-id"],
        "refusals": [
            refusal(client.with_options(api_key="tg-wrong").models.list),
            refusal(lambda: client.chat.completions.create(model="no-such-model", messages=QUESTION)),
            refusal(lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, n=9)),
        ],
    }


def refusal(call: Any) -> list[Any]:
    """Return what the client makes of a refusal."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code, error.param]
    return []


async def tell_async() -> list[str]:
    """Use the client without blocking."""
    async with AsyncOpenAI(**ACCESS) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=QUESTION)
        stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        return [whole.choices[0].message.content or "", text]


if __name__ == "__main__":
    with OpenAI(**ACCESS) as client:
        seen = tell(client)
    seen["texts"] += asyncio.run(tell_async())
    print(json.dumps(seen))
