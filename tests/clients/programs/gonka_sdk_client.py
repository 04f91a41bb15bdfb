"""The network's own SDK for Python, as its documentation shows it: nodes found at a source URL, calls signed by it."""

import json
import os

from gonka_openai import GonkaOpenAI

QUESTION = [{"role": "user", "content": os.environ["QUESTION"]}]


def tell(client: GonkaOpenAI) -> dict[str, object]:
    """Ask once as a whole and once as a stream."""
    whole = client.chat.completions.create(model=os.environ["MODEL"], messages=QUESTION)
    stream = client.chat.completions.create(model=os.environ["MODEL"], messages=QUESTION, stream=True)
    chunks = list(stream)
    texts = ["".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)]
    return {
        "base_url": str(client.base_url),
        "texts": [whole.choices[0].message.content, *texts],
        "usages": [whole.usage.total_tokens, *(chunk.usage.total_tokens for chunk in chunks if chunk.usage)],
        "models": [model.id for model in client.models.list()],
    }


if __name__ == "__main__":
    print(json.dumps(tell(GonkaOpenAI(gonka_private_key=os.environ["GONKA_PRIVATE_KEY"]))))
