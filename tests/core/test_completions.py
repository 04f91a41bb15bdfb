"""Legacy completions, without any network: the chat requests that a body becomes, and the text that frames become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.answers import UnusableAnswerError
from tallygate.core.completions import CHOICES_MAX, TEXT, meaning_of_all, parse_completion_request
from tallygate.core.errors import Code, Refusal
from tallygate.core.forms import Head
from tallygate.core.openai import parse_chat_request
from tallygate.core.usage import Tally

HEAD = Head("chatcmpl-1", "Qwen/Qwen3", 1_700_000_000)
USAGE = b'{"prompt_tokens":1}'


def body_of(**fields: Any) -> bytes:
    """Return a body."""
    return json.dumps({"model": "m", "prompt": "x", **fields}).encode()


def tally() -> Tally:
    """Return a fresh tally."""
    return Tally(100, 1000, 1000)


@given(st.lists(st.text(), min_size=1, max_size=4), st.integers(1, 5), st.booleans())
def test_prompts_become_chat_requests(prompts: list[str], n: int, stream: bool) -> None:
    """Each prompt, of whatever characters, becomes what chat makes of a user's message with that text."""
    more: dict[str, Any] = {"n": n, "stream": stream, "max_tokens": 7, "top_p": 0.5, "stop": ["a"]}
    requests = parse_completion_request(body_of(prompt=prompts, **more))

    for prompt, request in zip(prompts, requests, strict=True):
        messages = [{"role": "user", "content": prompt}]
        text = json.dumps(messages, separators=(",", ":"))
        chat = parse_chat_request(json.dumps({"model": "m", "messages": messages, **more}).encode())
        assert json.loads(bytes(request.members["messages"])) == messages
        assert request.texts() == [prompt]
        assert request.prompt_bytes == len(text) == len(request.members["messages"])
        assert request.members.keys() == chat.members.keys()
        assert (request.choices, request.stream, request.max_tokens) == (n, stream, 7)


def test_a_string_is_a_list_of_one() -> None:
    """A prompt alone means the same as a list of it."""
    assert parse_completion_request(body_of()) == parse_completion_request(body_of(prompt=["x"]))


def test_choices_are_bounded_together() -> None:
    """Prompts times `n` may be so many and no more, whichever of them is large."""
    assert len(parse_completion_request(body_of(prompt=["x"] * CHOICES_MAX))) == CHOICES_MAX
    for count, n in ((CHOICES_MAX + 1, 1), (CHOICES_MAX // 2 + 1, 2), (CHOICES_MAX // 5 + 1, 5)):
        with pytest.raises(Refusal) as refused:
            parse_completion_request(body_of(prompt=["x"] * count, n=n))
        assert (refused.value.code, refused.value.param) == (Code.INVALID_VALUE, "prompt")


@pytest.mark.parametrize(
    "body", [b'{"prompt":"x","prompt":"y","model":"m"}', b'{"model":"m","prompt":"x","n":1,"n":5}']
)
def test_nothing_is_given_twice(body: bytes) -> None:
    """A repeated member is refused as in chat."""
    with pytest.raises(Refusal) as refused:
        parse_completion_request(body)
    assert refused.value.code is Code.DUPLICATE_PARAMETER


def test_no_name_of_a_caller_is_repeated() -> None:
    """An unknown member that cannot be a parameter's name may be text, or a secret: it is not told back."""
    with pytest.raises(Refusal) as refused:
        parse_completion_request(body_of(**{"my secret \u2603": 1}))
    assert refused.value.param is None
    assert "secret" not in refused.value.message


def test_what_a_request_means() -> None:
    """Prompts, their order and what goes with them make the meaning; spelling does not."""

    def meaning(body: bytes) -> object:
        return meaning_of_all(parse_completion_request(body), "Qwen/Qwen3")

    asked = meaning(body_of(prompt=["a", "b"], n=1))
    assert asked == meaning(b'{"prompt": ["\\u0061","b"],\n"model":"other", "suffix": null}')
    others: list[dict[str, Any]] = [
        {"prompt": ["b", "a"]},
        {"prompt": ["a", "b"], "n": 2},
        {"prompt": "a"},
        {"prompt": ["a", "b"], "seed": 1},
    ]
    assert all(meaning(body_of(**other)) != asked for other in others)


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    """Return a frame as an upstream sends it."""
    return json.dumps({"id": "theirs", "object": "chat.completion.chunk", "choices": list(choices), **more}).encode()


def told(frames: bytes) -> list[Any]:
    """Return the chunks of frames."""
    events = frames.decode().split("\n\n")[:-1]
    return [json.loads(event.removeprefix("data: ")) for event in events if event != "data: [DONE]"]


def test_frames_become_text() -> None:
    """Of each frame goes out what OpenAI's older form has, under our number; the frame with the role says nothing."""
    (request,) = parse_completion_request(body_of(n=2, stream=True))
    relayed = TEXT.open_stream(HEAD, 3, request, tally())
    out = relayed.feed(
        [
            chunk({"index": 0, "delta": {"role": "assistant", "content": ""}}),
            chunk({"index": 1, "delta": {"content": "Hé\n"}, "logprobs": {"content": [{}]}, "stop_reason": 5}),
            chunk({"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": ""}),
            chunk({"index": 0, "delta": {}, "finish_reason": "length"}),
        ]
    )

    assert [c["choices"] for c in told(out)] == [
        [{"text": "Hé\n", "index": 7, "logprobs": None, "finish_reason": None}],
        [{"text": "", "index": 6, "logprobs": None, "finish_reason": None, "reasoning_content": "hm"}],
        [{"text": "", "index": 6, "logprobs": None, "finish_reason": "length"}],
    ]
    head = {"id": HEAD.inference, "object": "text_completion", "created": HEAD.created_s, "model": HEAD.model}
    assert all({**c, "choices": []} == {**head, "choices": []} for c in told(out))
    held = relayed.feed([chunk({"index": 1, "delta": {}, "finish_reason": "stop"}), b"[DONE]"])
    assert held == b""
    assert told(relayed.release())[0]["choices"][0]["index"] == 7
    (last,) = told(relayed.end(USAGE))
    assert (last["choices"][0]["finish_reason"], last["usage"]) == ("stop", {"prompt_tokens": 1})


@pytest.mark.parametrize("index", ["-1", "2", "99", '"x"', "null", "1.5"])
def test_no_index_reaches_another_part(index: str) -> None:
    """Whatever an upstream calls a choice, it stays among those of its part."""
    (request,) = parse_completion_request(body_of(n=2, stream=True))
    relayed = TEXT.open_stream(HEAD, 1, request, tally())
    (frame,) = told(relayed.feed([b'{"choices":[{"index":%b,"delta":{"content":"x"}}]}' % index.encode()]))

    assert frame["choices"][0]["index"] in (2, 3)


def answer(*texts: str | None, **more: Any) -> bytes:
    """Return an upstream's whole answer."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i, text in enumerate(texts)
    ]
    return json.dumps({"id": "theirs", "choices": choices, **more}).encode()


def test_answers_are_joined() -> None:
    """The choices of all parts stand in their order, in whatever order the parts came; usage is the last member."""
    requests = parse_completion_request(body_of(prompt=["a", "b"], n=2))
    whole = TEXT.open_whole(HEAD, requests[0])
    whole.take(1, answer("c", None, service_tier="second"), tally())
    whole.take(0, answer("a", "b", system_fingerprint="fp"), tally())
    said = json.loads(whole.with_usage(USAGE))

    assert [(c["index"], c["text"]) for c in said["choices"]] == [(0, "a"), (1, "b"), (2, "c"), (3, "")]
    assert list(said) == ["id", "object", "created", "model", "choices", "system_fingerprint", "usage"]
    assert (said["object"], said["usage"]) == ("text_completion", {"prompt_tokens": 1})


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"choices":[]}', b'{"choices":[{}]}', answer("x", error={"message": "no"})]
)
def test_what_is_no_answer_is_not_taken(body: bytes) -> None:
    """A body that is no chat answer is none here either."""
    (request,) = parse_completion_request(body_of())
    with pytest.raises(UnusableAnswerError):
        TEXT.open_whole(HEAD, request).take(0, body, tally())
