"""Commands for developers with a wallet of their own, who speak to Gonka nodes without a gateway in between.

They need no configuration, and no library but those of `tallygate[direct]`. What they mean is in `tallygate.direct`;
here are their words, and how they end.
"""
