"""Load, growth and memory of cardbase, beside other ways to put HTTP in front of the same database."""


class BenchError(Exception):
    """The bench cannot go on; the message says why."""
