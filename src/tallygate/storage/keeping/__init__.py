"""What keeps and moves the books: `backup`, `dump` and `load`, and how a store comes to its place (`placing`).

`history` and `account_history` read them for reports.
"""
