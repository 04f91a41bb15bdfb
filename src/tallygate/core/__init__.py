"""The rules of Tallygate, and nothing else.

Nothing here awaits, reads a clock, draws a random number, logs, or opens a file or socket: what a rule needs of
the world is passed in. So every rule can be tested by a table, replayed from the books, and read on its own.
"""
