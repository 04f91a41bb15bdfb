"""LlamaIndex, by its class for servers that are like OpenAI's."""

import asyncio
import json
import os

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

QUESTION = os.environ["QUESTION"]
llm = OpenAILike(
    model=os.environ["MODEL"],
    api_base=os.environ["TALLYGATE_BASE_URL"],
    api_key=os.environ["TALLYGATE_API_KEY"],
    is_chat_model=True,
    is_function_calling_model=True,
    max_retries=0,
)
MESSAGES = [ChatMessage(role="user", content=QUESTION)]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


whole = llm.chat(MESSAGES)
streamed = "".join(piece.delta or "" for piece in llm.stream_chat(MESSAGES))
called = llm.chat_with_tools([FunctionTool.from_defaults(add)], QUESTION, tool_choice="add")
(call,) = llm.get_tool_calls_from_response(called)
print(
    json.dumps(
        {
            "texts": [whole.message.content, streamed, asyncio.run(llm.achat(MESSAGES)).message.content],
            "usages": [whole.raw.usage.model_dump()],
            "calls": [json.dumps(call.tool_kwargs)],
        }
    )
)
