"""Transactions as the chain takes them: decoded, checked in the chain's order and words, and carried out.

One kind of message is known, a send of ngonka, which is all that publishing a key needs: any transaction of an account
puts its key on the chain. Signatures are checked in SIGN_MODE_DIRECT with the library that checks everything else here.
Codes and words are cosmos-sdk's (`x/auth/ante`, `types/errors`). Not simulated: waiting for a block (what passes its
checks is in the latest block at once), gas metering, and what fees are spent on.
"""

import hashlib
from dataclasses import dataclass

from tallygate.devnet.chain import Account, Chain
from tallygate.devnet.identity import derive_address, is_address, is_public_key, is_signed_by
from tallygate.devnet.protobuf import Fields, ProtobufError, parse_message, write_bytes, write_number

DENOM = "ngonka"
SEND_TYPE = "/cosmos.bank.v1beta1.MsgSend"
KEY_TYPE = "/cosmos.crypto.secp256k1.PubKey"
SIGN_MODE_DIRECT = 1
GAS_USED = 75_000  # about what a send takes
MIN_GAS_PRICE_NGONKA = 0
AMOUNT_DIGITS_MAX = 30
# cosmos-sdk's codes of the codespace "sdk".
CODE_TX_PARSE = 2
CODE_UNAUTHORIZED = 4
CODE_INSUFFICIENT_FUNDS = 5
CODE_UNKNOWN_REQUEST = 6
CODE_INVALID_ADDRESS = 7
CODE_INVALID_PUBKEY = 8
CODE_UNKNOWN_ADDRESS = 9
CODE_INVALID_COINS = 10
CODE_OUT_OF_GAS = 11
CODE_INVALID_REQUEST = 18
CODE_TX_IN_CACHE = 19
CODE_TX_TIMEOUT = 30
CODE_WRONG_SEQUENCE = 32


class TransactionError(Exception):
    """The chain takes no such transaction.

    Attributes:
        code: cosmos-sdk's code of the reason.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction with one send.

    Attributes:
        body: The bytes of its body, as they are signed.
        auth_info: The bytes of who signs and what it may cost, as they are signed.
        signature: Its one signature.
        sender: Who sends.
        recipient: To whom.
        amount_ngonka: How much.
        public_key: The signer's key, empty where it is left out.
        sequence: The signer's count of transactions.
        fee_ngonka: What it pays for being taken.
        gas_limit: The most gas that it may use.
        timeout_height: The last block that may take it; 0 is any.
    """

    body: bytes
    auth_info: bytes
    signature: bytes
    sender: str
    recipient: str
    amount_ngonka: int
    public_key: bytes
    sequence: int
    fee_ngonka: int
    gas_limit: int
    timeout_height: int


def hash_transaction(data: bytes) -> str:
    """Gives a transaction's hash as the chain writes it."""
    return hashlib.sha256(data).hexdigest().upper()


def decode_transaction(data: bytes) -> Transaction:
    """Reads a `TxRaw`.

    Raises:
        TransactionError: It is none, or has something else in it than one send by one signer.
    """
    try:
        return _decode(parse_message(data))
    except ProtobufError as error:
        raise TransactionError(CODE_TX_PARSE, f"{error}: tx parse error") from error


def simulate_transaction(chain: Chain, transaction: Transaction) -> int:
    """Gives the gas that a transaction would use; its signature may be empty.

    Raises:
        TransactionError: It would not be taken.
    """
    account, _ = _find_signer(chain, transaction)
    _check_sequence(account, transaction)
    _check_funds(account, transaction)
    return GAS_USED


def carry_out(chain: Chain, transaction: Transaction) -> None:
    """Checks a transaction and carries it out: the fee is taken, the key published, the amount sent.

    Raises:
        TransactionError: It is not taken; nothing has changed then.
    """
    if transaction.timeout_height and chain.clock.latest().height > transaction.timeout_height:
        raise TransactionError(CODE_TX_TIMEOUT, "tx timeout height")
    account, public_key = _find_signer(chain, transaction)
    _check_sequence(account, transaction)
    _check_signature(chain, transaction, account, public_key)
    if transaction.gas_limit < GAS_USED:
        where = f"gasWanted: {transaction.gas_limit}, gasUsed: {GAS_USED}"
        raise TransactionError(CODE_OUT_OF_GAS, f"out of gas in location: ReadFlat; {where}: out of gas")
    _check_funds(account, transaction)
    account.balance_ngonka -= transaction.fee_ngonka + transaction.amount_ngonka
    chain.open_account(transaction.recipient).balance_ngonka += transaction.amount_ngonka
    account.public_key = public_key
    account.sequence += 1


def build_signed_bytes(chain_id: str, account_number: int, transaction: Transaction) -> bytes:
    """Gives the `SignDoc` of SIGN_MODE_DIRECT."""
    parts = (write_bytes(1, transaction.body), write_bytes(2, transaction.auth_info), write_bytes(3, chain_id.encode()))
    return b"".join((*parts, write_number(4, account_number)))


def _decode(raw: Fields) -> Transaction:
    body, auth_info, signatures = raw.bytes(1), raw.bytes(2), raw.all_bytes(3)
    content, auth = parse_message(body), parse_message(auth_info)
    messages, signers = content.all_bytes(1), auth.all_bytes(1)
    if len(messages) != 1:
        raise TransactionError(CODE_INVALID_REQUEST, "must contain at least one message: invalid request")
    if len(signers) != 1 or len(signatures) != 1:
        words = f"wrong number of signers; expected 1, got {len(signatures)}: unauthorized"
        raise TransactionError(CODE_UNAUTHORIZED, words)
    message, signer = parse_message(messages[0]), parse_message(signers[0])
    if message.text(1) != SEND_TYPE:
        words = f"unable to resolve type URL {message.text(1)}: tx parse error"
        raise TransactionError(CODE_TX_PARSE, words)
    send = message.message(2)
    mode = signer.message(2).message(1).number(1)
    if mode != SIGN_MODE_DIRECT:
        raise TransactionError(CODE_UNAUTHORIZED, f"sign mode {mode} is not supported here: unauthorized")
    fee = auth.message(2)
    return Transaction(
        body,
        auth_info,
        signatures[0],
        sender=send.text(1),
        recipient=_read_address(send.text(2)),
        amount_ngonka=_read_coins(send.all_bytes(3)),
        public_key=_read_key(signer.message(1)),
        sequence=signer.number(3),
        fee_ngonka=_read_coins(fee.all_bytes(1)),
        gas_limit=fee.number(2),
        timeout_height=content.number(3),
    )


def _read_address(text: str) -> str:
    if not is_address(text):
        raise TransactionError(CODE_INVALID_ADDRESS, "invalid to address: decoding bech32 failed: invalid address")
    return text


def _read_key(key: Fields) -> bytes:
    if not key.pairs:
        return b""
    public_key = key.message(2).bytes(1)
    if key.text(1) != KEY_TYPE or not is_public_key(public_key):
        raise TransactionError(CODE_INVALID_PUBKEY, "PubKey is no secp256k1 key: invalid pubkey")
    return public_key


def _read_coins(coins: list[bytes]) -> int:
    total = 0
    for coin in coins:
        fields = parse_message(coin)
        amount = fields.text(2)
        if not (amount.isascii() and amount.isdecimal() and len(amount) <= AMOUNT_DIGITS_MAX):
            raise TransactionError(CODE_INVALID_COINS, f"{amount}{fields.text(1)}: invalid coins")
        if fields.text(1) != DENOM:
            raise TransactionError(CODE_INSUFFICIENT_FUNDS, f"no {fields.text(1)} here: insufficient funds")
        total += int(amount)
    return total


def _find_signer(chain: Chain, transaction: Transaction) -> tuple[Account, bytes]:
    """Gives the account that sends, and the key that has to have signed."""
    account = chain.find_account(transaction.sender)
    if account is None:
        words = f"account {transaction.sender} does not exist: unknown address"
        raise TransactionError(CODE_UNKNOWN_ADDRESS, words)
    public_key = account.public_key or transaction.public_key
    if not public_key:
        raise TransactionError(CODE_INVALID_PUBKEY, "PubKey not found: invalid pubkey")
    if derive_address(transaction.public_key or public_key) != transaction.sender:
        words = f"pubKey does not match signer address {transaction.sender} with signer index: 0: invalid pubkey"
        raise TransactionError(CODE_INVALID_PUBKEY, words)
    return account, public_key


def _check_sequence(account: Account, transaction: Transaction) -> None:
    if transaction.sequence != account.sequence:
        expected = f"expected {account.sequence}, got {transaction.sequence}"
        words = f"account sequence mismatch, {expected}: incorrect account sequence"
        raise TransactionError(CODE_WRONG_SEQUENCE, words)


def _check_signature(chain: Chain, transaction: Transaction, account: Account, public_key: bytes) -> None:
    signed = build_signed_bytes(chain.id, account.number, transaction)
    if not is_signed_by(public_key, signed, transaction.signature):
        names = f"account number ({account.number}), sequence ({account.sequence}) and chain-id ({chain.id})"
        words = f"signature verification failed; please verify {names}: unauthorized"
        raise TransactionError(CODE_UNAUTHORIZED, words)


def _check_funds(account: Account, transaction: Transaction) -> None:
    wanted = transaction.fee_ngonka + transaction.amount_ngonka
    if not transaction.amount_ngonka:
        raise TransactionError(CODE_INVALID_COINS, f"0{DENOM}: invalid coins")
    if wanted > account.balance_ngonka:
        words = f"spendable balance {account.balance_ngonka}{DENOM} is smaller than {wanted}{DENOM}"
        raise TransactionError(CODE_INSUFFICIENT_FUNDS, f"{words}: insufficient funds")
