"""What can go wrong between this gateway and an upstream's socket, as far as retrying needs it told apart.

Every failure of the HTTP client is exactly one of these; OSError, ssl.SSLError and the parser's own
errors end in the module that met them and are at most the ``__cause__``. No HTTP status is an error
here: a 500 is an answer. Which of these may be retried is not decided here.

Invariants: ``request_sent`` is False only where provably not one byte of the request was sent;
no message holds a header, a body or a key, only the origin and what happened to it.
"""

from typing import ClassVar


class UpstreamConnectionError(Exception):
    """A call failed below HTTP; never raised itself, only its leaves are."""

    code: ClassVar[str]
    request_sent: ClassVar[bool] = True


class ConnectError(UpstreamConnectionError):
    """No connection came about: name not found, refused, TLS failed; nothing was sent."""

    code = "connect_failed"
    request_sent = False


class ConnectTimeoutError(UpstreamConnectionError):
    """No connection, or no free place for one, within the connect timeout; nothing was sent."""

    code = "connect_timeout"
    request_sent = False


class NoFreeConnectionError(ConnectTimeoutError):
    """All connections that there may be were busy until the connect timeout; nothing was sent."""

    code = "no_free_connection"


class ClientClosedError(UpstreamConnectionError):
    """The client was closed by its own process, before or during the call."""

    code = "client_closed"


class ConnectionLostError(UpstreamConnectionError):
    """The connection was reset, or ended before the answer did.

    Attributes:
        reused: the connection had served another call before, so it may have been stale.
        any_byte: a byte of the answer had arrived, be it of its headers or of a 1xx answer.
        body_byte: a byte of the answer's body had arrived.
    """

    code = "connection_lost"

    def __init__(self, message: str, *, reused: bool, any_byte: bool, body_byte: bool) -> None:
        super().__init__(message)
        self.reused = reused
        self.any_byte = any_byte
        self.body_byte = body_byte


class FirstByteTimeoutError(UpstreamConnectionError):
    """The request went out, and no byte of a body came in time."""

    code = "first_byte_timeout"


class IdleTimeoutError(UpstreamConnectionError):
    """The upstream fell silent in the middle of the body."""

    code = "idle_timeout"


class TotalTimeoutError(UpstreamConnectionError):
    """The whole call took longer than one may."""

    code = "total_timeout"


class MalformedAnswerError(UpstreamConnectionError):
    """What came was not an HTTP/1.1 answer that we can read safely."""

    code = "malformed_answer"


class AnswerTooLargeError(UpstreamConnectionError):
    """The body was longer than the reader was ready to take; the connection was closed."""

    code = "answer_too_large"


class AnswerAbandonedError(UpstreamConnectionError):
    """The answer was read after its own reader had abandoned it."""

    code = "answer_abandoned"
