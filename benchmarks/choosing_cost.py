"""What choosing a node costs a call, and keeping account of how it does: processor time, no network.

.venv/bin/python benchmarks/choosing_cost.py
"""

import random
import time

from tallygate.core.choosing import order_places
from tallygate.core.retry import LOST
from tallygate.core.standing import End, Standing

ROUNDS = 20_000


class Place:
    def __init__(self) -> None:
        self.standing = Standing(time.monotonic)


def main() -> None:
    draw = random.Random().randrange
    for count in (1, 3, 5, 20, 100):
        for out in (0, 1):
            places = [Place() for _ in range(count)]
            for place in places:
                live(place.standing)
            if out:
                places[-1].standing.report(LOST._replace(out_for_s=1e9))
            choosing_us = measure(lambda turn, places=places: order_places(places, turn, draw))
            keeping_us = measure(lambda _, standing=places[0].standing: live(standing))
            print(f"{count:3} nodes, {out} out: {choosing_us:5.1f} us to choose, {keeping_us:4.1f} us to keep account")


def live(standing: Standing) -> None:
    sent = standing.begin(streams=True)
    standing.answered(sent)
    standing.conclude(sent, End.WHOLE, (5, 5))
    standing.finish(sent)


def measure(act) -> float:
    begun_s = time.process_time()
    for turn in range(ROUNDS):
        act(turn)
    return (time.process_time() - begun_s) / ROUNDS * 1e6


if __name__ == "__main__":
    main()
