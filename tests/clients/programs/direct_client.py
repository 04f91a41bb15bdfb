"""Direct access with the official client for Python of either major version, and nothing else of ours installed."""

import asyncio
import json
import os

import openai

from tallygate.direct import find_nodes, wallet_from_environment
from tallygate.direct.client import connect, connect_async

MODEL = os.environ["MODEL"]
MESSAGES = [{"role": "user", "content": os.environ["QUESTION"]}]


def ask() -> list[str]:
    """Return an answer, whole and streamed."""
    with connect(wallet_from_environment(), find_nodes()) as client:
        whole = client.chat.completions.create(model=MODEL, messages=MESSAGES)
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        return [whole.choices[0].message.content, streamed]


async def ask_async() -> list[str]:
    """Return the same by the async client, with everything from the environment."""
    async with connect_async() as client:
        whole = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        return [whole.choices[0].message.content, streamed]


def refuse() -> list[str]:
    """Return the exceptions of a refusal, of nodes that are not there, and of a stream that is cut."""
    seen = []
    os.environ["GONKA_ENDPOINTS"] = os.environ["GONE_ENDPOINTS"]
    for nodes in (None, [find_nodes()[0]._replace(url="http://127.0.0.1:9")]):
        with connect(nodes=nodes, max_retries=3) as client:
            try:
                client.chat.completions.create(model=MODEL, messages=MESSAGES)
            except openai.APIStatusError as error:
                seen.append(f"{error.status_code} {error}")
    os.environ["GONKA_ENDPOINTS"] = os.environ["CUT_ENDPOINTS"]
    with connect() as client:
        try:
            list(client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True))
        except openai.APIConnectionError as error:
            seen.append(f"cut: {error.__cause__}")
        except Exception as error:  # noqa: BLE001  (the major version before lets the HTTP library's own through)
            seen.append(f"cut: {error}")
    return seen


answers = ask() + asyncio.run(ask_async())
print(json.dumps({"version": openai.__version__, "texts": answers, "refusals": refuse()}))
