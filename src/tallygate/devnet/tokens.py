"""What a token is in a devnet, and the rule by which a prompt's tokens are counted.

One rule for all models. Invariant: the tokens of a text, joined, are that text again.

The rule: a run of up to six letters or digits is a token, with the space before it if there is one;
every other character is a token of its own. A prompt's tokens are those of all its messages' texts,
4 more per message (its role and its borders), those of the tools' JSON, and 3 for the answer's
opening.
"""

import json
import re
import zlib

from tallygate.devnet.calls import ChatCall

TOKEN = re.compile(r" ?[^\W_]{1,6}|[\s\S]")
MESSAGE_BORDER = ("<|start|>", "<|role|>", "<|message|>", "<|end|>")
ANSWER_OPENING = ("<|start|>", "assistant", "<|message|>")
VOCABULARY_SIZE = 151_936  # Qwen3's, so that the numbers look real


def split_tokens(text: str) -> tuple[str, ...]:
    """Splits a text into its tokens."""
    return tuple(TOKEN.findall(text))


def split_prompt(call: ChatCall) -> tuple[str, ...]:
    """Gives the tokens of a whole prompt, by the rule at the top."""
    tokens: list[str] = []
    for message in call.messages:
        tokens += MESSAGE_BORDER
        tokens += split_tokens(message.text)
    if call.tools:
        tokens += split_tokens(json.dumps(call.fields.get("tools"), separators=(",", ":")))
    return (*tokens, *ANSWER_OPENING)


def measure_prompt(call: ChatCall) -> int:
    """Gives a prompt's size as a transfer agent estimates it: bytes, of each message's text and a line end."""
    return sum(len(message.text.encode()) + 1 for message in call.messages)


def estimate_tokens(call: ChatCall, input_bytes: int = 0) -> int:
    """Gives the most tokens that a call can take, for its escrow.

    The chain itself takes the estimated bytes and one answer's `max_tokens`, and pays no more than that. Here the
    escrow covers what no byte stands for, and every choice, so that what is paid is always what was served.
    """
    prompt_tokens = max(measure_prompt(call), input_bytes, len(split_prompt(call)))
    return prompt_tokens + call.max_tokens * call.choices


def number_token(token: str) -> int:
    """Gives a token's number in a vocabulary that never was: the same for the same text."""
    return zlib.crc32(token.encode("utf-8", "replace")) % VOCABULARY_SIZE
