"""What becomes of a parameter by its name: written anew, copied, or refused; some whatever the operator has set.

What is not known is refused as shipped. An operator can have it passed or left out instead, but not what could break
the promise that a charge never exceeds its hold, what the network is known to refuse, or what a careless decoder
would take for a parameter that was checked: the same letters in another case or with other punctuation.
"""

from __future__ import annotations

from typing import Final

from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import nameable
from tallygate.core.openai.parameters import PARAMETERS

KNOWN: Final = frozenset(PARAMETERS)

OWNED: Final = frozenset({"model", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options"})
"""What is written anew."""

COPIED: Final = KNOWN - OWNED - {"extra_body"}
"""What is checked, and then sent on as the bytes that came."""

REFUSED: Final = {
    "functions": "is OpenAI's old form; use tools",
    "function_call": "is OpenAI's old form; use tool_choice",
    **dict.fromkeys(
        (
            # more to write: longer answers, or more of them than are shown
            "min_tokens",
            "min_length",
            "min_new_tokens",
            "max_new_tokens",
            "max_length",
            "max_output_tokens",
            "n_predict",
            "num_predict",
            "ignore_eos",
            "best_of",
            "use_beam_search",
            "num_beams",
            "beam_width",
            "num_return_sequences",
            "prediction",
            "modalities",
            "audio",
            "echo",
            # more to read: what is added to the prompt elsewhere
            "prompt",
            "prompt_embeds",
            "prompt_logprobs",
            "documents",
            "mm_processor_kwargs",
            "plugins",
            "web_search_options",
            # another price
            "models",
            "route",
            "provider",
            "service_tier",
            # anything at all
            "extra_args",
            "vllm_xargs",
        ),
        "can raise the cost of a call beyond what was set aside for it",
    ),
    **dict.fromkeys(
        ("add_generation_prompt", "continue_final_message", "add_special_tokens"), "changes how a prompt is counted"
    ),
    **dict.fromkeys(
        ("return_token_ids", "return_tokens_as_token_ids", "logprobs_mode", "kv_transfer_params"),
        "is for the network's own machines",
    ),
    **dict.fromkeys(
        (
            "guided_json",
            "guided_regex",
            "guided_grammar",
            "guided_choice",
            "structured_outputs",
            "enforced_tokens",
            "allowed_token_ids",
            "tags",
            "truncate_prompt_tokens",
        ),
        "is rejected by the Gonka network",
    ),
}
"""What never passes, and why."""

_REFUSED_PREFIXES: Final = ("chat_template", "guided_")


def _letters(name: str) -> str:
    """Return what is left of a name for a decoder that minds neither case nor punctuation."""
    return "".join(filter(str.isalnum, name.casefold()))


_NEVER_LETTERS: Final = frozenset(map(_letters, KNOWN | REFUSED.keys()))
_NEVER_BEGINNINGS: Final = tuple(map(_letters, _REFUSED_PREFIXES))


def never_passes(name: str) -> bool:
    """Return whether an unknown name is refused whatever the operator has set."""
    letters = _letters(name)
    return nameable(name) is None or letters in _NEVER_LETTERS or letters.startswith(_NEVER_BEGINNINGS)


def refuse_unknown(name: str) -> Refusal:
    """Return why a parameter that is not known is refused."""
    param = nameable(name)
    shown = param or "A field"
    if name in REFUSED:
        return Refusal(Code.UNSUPPORTED_PARAMETER, f"{name} {REFUSED[name]}.", param=name)
    if name.startswith("chat_template"):
        return Refusal(Code.UNSUPPORTED_PARAMETER, f"{shown} changes how a prompt is counted.", param=param)
    if name.startswith("guided_"):
        return Refusal(Code.UNSUPPORTED_PARAMETER, f"{shown} is rejected by the Gonka network.", param=param)
    if name.lower() in KNOWN:
        return Refusal(Code.UNKNOWN_PARAMETER, f"{shown} is not a parameter; {name.lower()} is.", param=param)
    return Refusal(Code.UNKNOWN_PARAMETER, f"{shown} is not a parameter of this route.", param=param)
