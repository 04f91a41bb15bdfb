"""What the official gateway passes on: its closed list of parameters, its limits, and how it lists its models."""

from typing import Any

from tallygate.devnet.calls import CallError, ChatCall, build_call, parse_object, read_model, require_messages

DEFAULT_MAX_TOKENS = 3072
MAX_TOKENS_CAP = 4096
MESSAGES_LIMIT = 2048
CONTEXT_LENGTH = 131_072
# The official gateway's closed list: what it passes on or quietly drops. All else is refused.
KNOWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "n",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "seed",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "metadata",
        "min_tokens",
        "skip_special_tokens",
        "chat_template_kwargs",
        "enable_thinking",
        "thinking",
        "extra_body",
        "reasoning",
        "service_tier",
        "store",
        "provider",
        "plugins",
        "cache_key",
        "prompt_cache_key",
        "extra_headers",
        "thinking_config",
        "think",
        "reasoning_effort",
        "safety_identifier",
    }
)


def read_call(body: bytes, models: tuple[str, ...]) -> ChatCall:
    """Reads a call as the gateway does.

    Raises:
        CallError: It is none that the gateway passes on.
    """
    fields = parse_object(body)
    model = read_model(fields)
    if model not in models:
        raise CallError(f'unsupported model "{model}"')
    for name in fields:
        if name not in KNOWN_FIELDS:
            raise CallError(f'"{name}" is currently rejected by the Gonka network')
    require_messages(fields)
    if len(fields["messages"]) > MESSAGES_LIMIT:
        raise CallError(f"messages must not be more than {MESSAGES_LIMIT}")
    return build_call(fields, DEFAULT_MAX_TOKENS, MAX_TOKENS_CAP)


def list_models(models: tuple[str, ...]) -> dict[str, Any]:
    """Gives the list of models, in OpenRouter's manner; the gateway itself asks no price."""
    data = [
        {
            "id": model,
            "object": "model",
            "owned_by": "gonka",
            "name": model.rpartition("/")[2],
            "context_length": CONTEXT_LENGTH,
            "max_completion_tokens": MAX_TOKENS_CAP,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0", "completion": "0", "request": "0"},
            "top_provider": {"context_length": CONTEXT_LENGTH, "is_moderated": False},
            "supported_parameters": ["max_tokens", "temperature", "top_p", "stop", "tools"],
        }
        for model in models
    ]
    return {"object": "list", "data": data}
