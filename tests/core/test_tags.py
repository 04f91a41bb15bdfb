"""What a call is attributed to: references that add up, and that say nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.tags import HALF_BYTES, TAG, USER, Tags, name_half

TAGS = Tags(bytes(32))
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def tag_of(body: bytes, account: str = "acct_1", tags: Tags = TAGS) -> bytes | None:
    """Return the tag of a request."""
    return tags.of_call(account, _members(body))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"messages": []}',
        b'{"user": ""}',
        b'{"user": 7}',
        b'{"user": ["alice"]}',
        b'{"metadata": {}}',
        b'{"metadata": {"tag": null, "run": "7"}}',
        b'{"metadata": {"tag": 7}}',
        b'{"metadata": "run-7"}',
        b'{"user": "", "metadata": {"tag": ""}}',
    ],
)
def test_what_names_nothing_has_no_tag(body: bytes) -> None:
    """Without a text in `user` or `metadata.tag` an entry's tag is nil."""
    assert tag_of(body) is None


def test_each_half_stands_for_its_text() -> None:
    """`user` and `metadata.tag` are told apart, also when only one of them is there or both are the same text."""
    both = tag_of(b'{"user": "alice", "metadata": {"tag": "run-7", "run": "x"}}')
    assert both is not None

    assert len(both) == 2 * HALF_BYTES
    assert both == TAGS.half("acct_1", USER, "alice") + TAGS.half("acct_1", TAG, "run-7")
    assert tag_of(b'{"user": "alice"}') == both[:HALF_BYTES] + bytes(HALF_BYTES)
    assert tag_of(b'{"metadata": {"tag": "run-7"}}') == bytes(HALF_BYTES) + both[HALF_BYTES:]
    assert TAGS.half("acct_1", USER, "alice") != TAGS.half("acct_1", TAG, "alice")


def test_a_half_is_shown_with_its_name() -> None:
    """What is shown names the half, and is empty where it stands for nothing."""
    tag = tag_of(b'{"user": "alice"}')

    assert name_half(USER, tag) == f"user_{TAGS.half('acct_1', USER, 'alice').hex()}"
    assert name_half(TAG, tag) == name_half(USER, None) == ""


def test_nobody_else_makes_the_same_reference() -> None:
    """Another installation, another account and another text all give another half."""
    here = TAGS.half("acct_1", USER, "alice")
    others = {
        Tags(b"x" * 32).half("acct_1", USER, "alice"),
        TAGS.half("acct_2", USER, "alice"),
        TAGS.half("acct_1", USER, "Alice"),
        TAGS.half("acct_1", USER, "alice "),
    }

    assert len(others) == 4
    assert here not in others


@given(user=st.text(min_size=1))
def test_any_text_is_found_again(user: str) -> None:
    """However JSON spells a text, its reference is that of the text itself."""
    try:
        user.encode()
    except UnicodeEncodeError:
        return
    spelt = msgspec.json.encode({"user": user})
    escaped = ('{"user":"' + "".join(rf"\u{unit:04x}" for unit in _units(user)) + '"}').encode()

    assert tag_of(spelt) == tag_of(escaped) == TAGS.half("acct_1", USER, user) + bytes(HALF_BYTES)


def _units(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2)]
