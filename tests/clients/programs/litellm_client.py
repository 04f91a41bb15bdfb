"""litellm as a client."""

import asyncio
import json
import os
from typing import Any

import litellm

TOOL = json.loads(os.environ["TOOL"])
ACCESS: Any = {
    "model": f"openai/{os.environ['MODEL']}",
    "messages": [{"role": "user", "content": os.environ["QUESTION"]}],
    "api_base": os.environ["TALLYGATE_BASE_URL"],
    "api_key": os.environ["TALLYGATE_API_KEY"],
    "max_retries": 0,
}
CHOICE = {"type": "function", "function": {"name": TOOL["function"]["name"]}}

whole = litellm.completion(**ACCESS)
chunks = list(litellm.completion(**ACCESS, stream=True))
called = litellm.completion(**ACCESS, tools=[TOOL], tool_choice=CHOICE)
waited = asyncio.run(litellm.acompletion(**ACCESS))
print(
    json.dumps(
        {
            "texts": [
                whole.choices[0].message.content,
                "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
                waited.choices[0].message.content,
            ],
            "usages": [whole.usage.model_dump()],
            "calls": [called.choices[0].message.tool_calls[0].function.arguments],
        }
    )
)
