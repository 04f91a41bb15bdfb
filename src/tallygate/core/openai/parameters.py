"""The parameters of a chat call, as the documentation lists them: each with what it may be.

The numbers are those of the checks; what is not in this table is no parameter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.openai.formats import FORMAT_NODES_MAX, SCHEMA_DEPTH_MAX, TOOL_NODES_MAX
from tallygate.core.openai.messages import MESSAGES_MAX
from tallygate.core.openai.sampling import (
    LOGIT_BIASES_MAX,
    METADATA_KEY_MAX,
    METADATA_PAIRS_MAX,
    METADATA_VALUE_MAX,
    STOPS_MAX,
    TOP_LOGPROBS_MAX,
    USER_BYTES_MAX,
)
from tallygate.core.openai.tools import TOOLS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES_MAX: Final = 5
"""The network's own limit on `n`."""

PARAMETERS: Final[Mapping[str, str]] = {
    "model": "the id of a model or an alias of it, in any case; required",
    "messages": f"1 to {MESSAGES_MAX} messages; content is a text or text parts; required",
    "temperature": "0 to 2; the installation's default where it is not named",
    "top_p": "above 0, up to 1",
    "n": f"1 to {CHOICES_MAX} choices",
    "max_tokens": "at least 1, of one choice; cut to the model's maximum",
    "max_completion_tokens": "the same as `max_tokens`, which must not say otherwise",
    "stream": "true or false",
    "stream_options": "`include_usage` only; goes with `stream`",
    "stop": f"a text, or up to {STOPS_MAX} of them, none empty",
    "presence_penalty": "-2 to 2",
    "frequency_penalty": "-2 to 2",
    "tools": f"up to {TOOLS_MAX} functions; a schema has up to {SCHEMA_DEPTH_MAX} levels and {TOOL_NODES_MAX} objects "
    "and arrays; needs `tools`",
    "tool_choice": "`none`, `auto`, `required`, or one of the functions; goes with `tools`",
    "parallel_tool_calls": "true or false",
    "thinking": "an object, sent on as it is; needs `thinking`",
    "response_format": "`text`; `json_object`, which needs `json_mode`; or `json_schema`, which needs "
    f"`structured_outputs`, with a schema of up to {SCHEMA_DEPTH_MAX} levels and {FORMAT_NODES_MAX} objects and arrays",
    "seed": "an integer of 64 bits",
    "logprobs": "true or false",
    "top_logprobs": f"0 to {TOP_LOGPROBS_MAX}; goes with `logprobs`",
    "logit_bias": f"up to {LOGIT_BIASES_MAX} token ids, each with a number from -100 to 100",
    "user": f"a text of up to {USER_BYTES_MAX} bytes",
    "metadata": f"up to {METADATA_PAIRS_MAX} texts of up to {METADATA_VALUE_MAX} characters, under keys of up to "
    f"{METADATA_KEY_MAX}",
    "extra_body": "an object with more of these, which count as if they stood beside it",
}
"""By name, in the order of OpenAI's own reference, more or less."""
