"""The commitment to balances: what a leaf is, what its path proves, and what it does not show."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ledger.merkle import EMPTY_ROOT, is_proved, leaf_hash
from tallygate.core.proofs.balances import Balance, BalanceTree, MalformedBalanceError, decode_balance
from tests.core.ledger.messagepack import pack

SECRET = bytes(range(32))
TIME_NS = 10**18
AMOUNTS = st.integers(-(2**63), 2**63 - 1)
ROWS = st.dictionaries(st.text(max_size=6), st.tuples(AMOUNTS, AMOUNTS, st.integers(0, 2**40)), max_size=20)


@given(ROWS)
def test_every_account_can_prove_its_balance(rows: dict[str, tuple[int, int, int]]) -> None:
    """Whatever the accounts are, each has a leaf with its figures and a path to the root."""
    tree = BalanceTree(SECRET, TIME_NS, [(account, *amounts) for account, amounts in rows.items()])

    assert tree.size == len(rows)
    for account, amounts in rows.items():
        place = tree.place(account)
        assert place is not None
        balance = decode_balance(tree.leaf(place))
        assert (balance.account, balance.available, balance.held, balance.account_sequence) == (account, *amounts)
        assert is_proved(leaf_hash(tree.leaf(place)), place, tree.size, tree.path(place), tree.root)


def test_leaf_is_what_the_page_on_the_books_says() -> None:
    """A leaf is the salt and the figures as MessagePack, and the salt is derived as it is written down."""
    tree = BalanceTree(SECRET, TIME_NS, [("b", 5, 6, 7), ("a", 1, 2, 3)])
    salts = hmac.digest(SECRET, b"tallygate balance salts", sha256)
    salt = hmac.digest(salts, TIME_NS.to_bytes(8, "big") + b"b", sha256)

    assert (tree.place("a"), tree.place("b"), tree.place("c")) == (0, 1, None)
    assert tree.leaf(1) == pack([salt, "b", 5, 6, 7])


def test_tree_of_no_accounts_is_empty() -> None:
    """Without accounts, the root is that of an empty tree."""
    assert BalanceTree(SECRET, TIME_NS, []).root == EMPTY_ROOT


def test_nothing_of_a_balance_shows_from_one_checkpoint_to_the_next() -> None:
    """The same balance has another leaf at every checkpoint and in every installation: nobody sees what is the same."""
    rows = [("a", 1, 2, 3)]
    leaves = {BalanceTree(secret, time, rows).leaf(0) for secret in (SECRET, bytes(32)) for time in (1, 2)}

    assert len(leaves) == 4


RAW = pack([bytes(32), "a", 1, 2, 3])


@pytest.mark.parametrize(
    "raw",
    [b"", RAW[:-1], RAW + b"\xc0", pack([bytes(31), "a", 1, 2, 3]), b"\xdc\x00\x05" + RAW[1:], b"\x91" * 100_000],
)
def test_leaf_that_we_would_not_write_is_refused(raw: bytes) -> None:
    """Bytes that are no leaf, or one in any but its one form, are malformed."""
    assert decode_balance(RAW) == Balance(bytes(32), "a", 1, 2, 3)
    with pytest.raises(MalformedBalanceError):
        decode_balance(raw)
