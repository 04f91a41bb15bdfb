"""LangChain's ChatOpenAI."""

import asyncio
import json
import os

from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

QUESTION = os.environ["QUESTION"]
TOOL = json.loads(os.environ["TOOL"])
chat = ChatOpenAI(
    model=os.environ["MODEL"],
    base_url=os.environ["TALLYGATE_BASE_URL"],
    api_key=SecretStr(os.environ["TALLYGATE_API_KEY"]),
    max_retries=0,
)


class Answer(BaseModel):
    """What a parsed output is parsed into."""

    title: str
    score: int
    tags: list[str]


async def stream() -> str:
    """Return the text of a stream."""
    return "".join([str(chunk.content) async for chunk in chat.astream(QUESTION)])


whole = chat.invoke(QUESTION)
streamed = "".join(str(chunk.content) for chunk in chat.stream(QUESTION))
caller = chat.bind_tools([TOOL], tool_choice=TOOL["function"]["name"])
called = caller.invoke(QUESTION)
pieces = [chunk for message in caller.stream(QUESTION) for chunk in message.tool_call_chunks]
print(
    json.dumps(
        {
            "texts": [whole.content, streamed, asyncio.run(stream())],
            "usages": [whole.response_metadata["token_usage"]],
            "calls": [json.dumps(called.tool_calls[0]["args"]), "".join(piece["args"] or "" for piece in pieces)],
            "parsed": chat.with_structured_output(Answer).invoke(QUESTION).model_dump(),
        }
    )
)
