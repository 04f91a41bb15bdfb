"""Faults that show another usage than the true one."""

import json
from collections.abc import Mapping

from tallygate.devnet.calls import JsonObject
from tallygate.devnet.faults.answer import AnswerFault
from tallygate.devnet.server import Exchange, Reply

HIGH_FACTOR = 1000


class WrongUsage(AnswerFault):
    """Shows any usage but the true one."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives the ordered usage, exactly."""
        del usage
        return self.order.usage


class LowUsage(AnswerFault):
    """Shows one token, whatever was served."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives ones."""
        return dict.fromkeys(usage, 1)


class HighUsage(AnswerFault):
    """Shows a thousand times what was served."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives too much."""
        return {name: value * HIGH_FACTOR for name, value in usage.items()}


class AbsentUsage(AnswerFault):
    """Shows no usage at all."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives none."""
        del usage
        return None


class NegativeUsage(AnswerFault):
    """Shows what was served as if it had been given back."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives less than nothing."""
        return {name: -value for name, value in usage.items()}


class FloatUsage(AnswerFault):
    """Shows fractions of tokens."""

    def show_usage(self, usage: JsonObject) -> JsonObject | None:
        """Gives half a token more of each."""
        return {name: value + 0.5 for name, value in usage.items()}


class TwiceUsage(AnswerFault):
    """Shows the true usage twice: in two frames, or in two members of one object."""

    async def send_frame(self, exchange: Exchange, frame: bytes) -> None:
        """Repeats the frame that has the usage."""
        await exchange.send(frame * 2 if b'"usage":{' in frame else frame)

    async def send_body(self, exchange: Exchange, reply: Reply) -> None:
        """Writes the member a second time."""
        again = b',"usage":' + json.dumps(json.loads(reply.body)["usage"]).encode("ascii") + b"}"
        await exchange.reply(Reply(reply.status, reply.body[:-1] + again, reply.content_type, reply.headers))


USAGE_FAULTS: Mapping[str, type[AnswerFault]] = {
    "wrong_usage": WrongUsage,
    "usage_low": LowUsage,
    "usage_high": HighUsage,
    "usage_absent": AbsentUsage,
    "usage_negative": NegativeUsage,
    "usage_float": FloatUsage,
    "usage_twice": TwiceUsage,
}
