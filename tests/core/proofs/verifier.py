"""A second reader of receipts, written from the page on the books alone: it shares no code with ours.

Its MessagePack, its tree and its bookkeeping are its own, its Ed25519 another library's. It returns what was charged
and raises for whatever does not fit.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

from ecdsa import Ed25519, VerifyingKey  # type: ignore[import-untyped]


def unpack(data: bytes) -> Any:
    """Return the value of MessagePack bytes: arrays, integers, text, bytes and nil."""
    value, rest = _unpack(data)
    assert not rest
    return value


def read_receipt(document: bytes, public_key: bytes) -> dict[str, int]:
    """Return the tokens and the charge that a receipt proves."""
    receipt = json.loads(document)
    assert receipt["form"] == "tallygate-receipt-1"
    body = _open_checkpoint(receipt, public_key)
    roots = {head[0]: (head[4], head[5]) for head in body[2]}
    told: dict[str, int] = {}
    for proof in receipt["entries"]:
        raw, header = _bytes(proof["entry"]), _bytes(proof["header"])
        _, writer, _, sequence, _, root, count, _ = unpack(header)
        assert _climb(_leaf(raw), proof["index"], count, proof["path"]) == root
        size, tree_root = roots[writer]
        assert _climb(_leaf(sha256(header).digest()), sequence - 1, size, proof["header_path"]) == tree_root
        entry = unpack(raw)
        if entry[1] in {"settle", "void", "expire"}:
            assert entry[10] == receipt["inference"]
            told = {"prompt": entry[17], "completion": entry[18], "charge": 0}
            for book, account, amount in entry[29]:
                if book == "USD" and account.startswith("income/"):
                    told["charge"] += amount
    return told


def read_balance(document: bytes, public_key: bytes) -> tuple[str, int, int]:
    """Return the account, and what it had available and held."""
    proof = json.loads(document)
    assert proof["form"] == "tallygate-balance-1"
    body = _open_checkpoint(proof, public_key)
    leaf = _bytes(proof["leaf"])
    assert _climb(_leaf(leaf), proof["index"], proof["size"], proof["path"]) == body[4]
    _, account, available, held, _ = unpack(leaf)
    return account, available, held


def _open_checkpoint(document: dict[str, Any], public_key: bytes) -> Any:
    signed = document["checkpoint"]
    body = _bytes(signed["body"])
    assert signed["key_id"] == sha256(public_key).hexdigest()[:16]
    assert VerifyingKey.from_string(public_key, curve=Ed25519).verify(_bytes(signed["sig"]), body)
    return unpack(body)


def _climb(node: bytes, index: int, size: int, path: list[str]) -> bytes:
    """Return the root, by walking down from the whole tree to the leaf and up again."""
    siblings = [_bytes(sibling) for sibling in path]
    if size == 1:
        assert not siblings
        return node
    split = 1
    while split * 2 < size:
        split *= 2
    last = siblings[-1]
    if index < split:
        return sha256(b"\x01" + _climb(node, index, split, path[:-1]) + last).digest()
    return sha256(b"\x01" + last + _climb(node, index - split, size - split, path[:-1])).digest()


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _unpack(data: bytes) -> tuple[Any, bytes]:  # noqa: PLR0911  (one return for each form)
    tag, rest = data[0], data[1:]
    if tag < 0x80 or tag >= 0xE0:
        return (tag if tag < 0x80 else tag - 256), rest
    if tag == 0xC0:
        return None, rest
    if 0xA0 <= tag < 0xC0:
        return rest[: tag - 0xA0].decode(), rest[tag - 0xA0 :]
    if 0x90 <= tag < 0xA0:
        return _items(rest, tag - 0x90)
    if 0xCC <= tag <= 0xD3:
        width = 1 << (tag & 3)
        return int.from_bytes(rest[:width], "big", signed=tag >= 0xD0), rest[width:]
    kind, width = {
        0xC4: ("bytes", 1),
        0xC5: ("bytes", 2),
        0xC6: ("bytes", 4),
        0xD9: ("text", 1),
        0xDA: ("text", 2),
        0xDB: ("text", 4),
        0xDC: ("array", 2),
        0xDD: ("array", 4),
    }[tag]
    size, rest = int.from_bytes(rest[:width], "big"), rest[width:]
    if kind == "array":
        return _items(rest, size)
    return (rest[:size].decode() if kind == "text" else rest[:size]), rest[size:]


def _items(rest: bytes, count: int) -> tuple[list[Any], bytes]:
    items = []
    for _ in range(count):
        item, rest = _unpack(rest)
        items.append(item)
    return items, rest
