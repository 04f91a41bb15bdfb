"""Times as the network writes them."""

import datetime as dt

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def show_time(seconds: int) -> str:
    """Gives a Unix time as RFC 3339 in UTC."""
    return (EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
