"""Load, growth and memory of cardbase, compared with other ways to put HTTP in front of the same database."""


class BenchError(Exception):
    """The bench can't continue; the message says why."""
