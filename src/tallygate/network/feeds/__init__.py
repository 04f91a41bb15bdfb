"""What the network says beside its answers to calls: prices, the rate of a GNK, balances.

Asked regularly, in the background; never on the path of a call. What is said is judged by `core.repricing` and
`core.wallets`.
"""
