"""Tokenizers in files: read as their makers publish them, and told plainly when they cannot be."""

from __future__ import annotations

import builtins
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.counting import UncountableError
from tallygate.tokenizerfile import FileTokenizer, TokenizerFileError

if TYPE_CHECKING:
    from pathlib import Path


def write_tokenizer(path: Path) -> None:
    """Write a byte-level BPE that knows all bytes and the word hello, as `tokenizer.json`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    vocabulary = {letters[byte]: byte for byte in range(256)}
    merges = ["h e", "l l", "he ll", "hell o"]
    vocabulary |= {merge.replace(" ", ""): 256 + n for n, merge in enumerate(merges)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False}
    model |= {"byte_fallback": False, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    model |= {"vocab": vocabulary, "merges": merges}
    content: dict[str, Any] = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None}
    path.write_text(json.dumps({**content, "pre_tokenizer": level, "decoder": level, "model": model}))


def write_narrow_tokenizer(path: Path) -> None:
    """Write a tokenizer that knows the word hello and nothing else, not even what stands for the unknown."""
    content: dict[str, Any] = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None}
    model = {"type": "WordLevel", "vocab": {"hello": 0}, "unk_token": "[UNK]"}
    path.write_text(json.dumps({**content, "pre_tokenizer": {"type": "Whitespace"}, "decoder": None, "model": model}))


def test_a_text_that_a_tokenizer_does_not_take_is_told(tmp_path: Path) -> None:
    """What the library cannot encode is one error of ours, which holds nothing of the text."""
    path = tmp_path / "tokenizer.json"
    write_narrow_tokenizer(path)
    tokenizer = FileTokenizer(path)
    assert tokenizer.count("hello hello") == 2
    with pytest.raises(UncountableError) as told:
        tokenizer.count("secret")

    assert (told.value.args, told.value.__context__) == ((), None)


def test_a_published_file_counts_tokens(tmp_path: Path) -> None:
    """A `tokenizer.json` counts what its model would: merged words as one, other bytes as they are."""
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    tokenizer = FileTokenizer(path)

    assert tokenizer.count("") == 0
    assert tokenizer.count("hello") == 1
    assert tokenizer.count("hello hello") == 3
    assert tokenizer.count("x\u00e9") == 3
    assert tokenizer.count("<|im_start|>") == len("<|im_start|>")


@pytest.mark.parametrize("content", [b"", b"{}", b"not a tokenizer", bytes(1000)])
def test_what_is_no_tokenizer_is_told(tmp_path: Path, content: bytes) -> None:
    """Any other file is an error that names it."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)

    with pytest.raises(TokenizerFileError, match=r"tokenizer\.json cannot be used"):
        FileTokenizer(path)


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says how to get it."""
    monkeypatch.delitem(sys.modules, "tokenizers", raising=False)
    load = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return load(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(TokenizerFileError, match=r"tallygate\[tokenizers\]"):
        FileTokenizer(tmp_path / "tokenizer.json")
