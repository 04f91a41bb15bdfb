"""The ways to the network: our own HTTP client, the two kinds of upstream on top of it, and the choice among them.

`client` (with `lane`, `connection`, `answer`, `origin`, `connection_errors`) speaks HTTP/1.1 and knows nothing of
what is asked; `gonka` signs, `bearer` sends a Bearer key; `sending` tells failures in the retry table's terms;
`pool` chooses where to send.
"""
