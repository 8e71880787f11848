"""The two kinds of failure that users meet, each one sentence: the rule, the value received, the way out."""


class BadInput(ValueError):
    """The user asked for something that cannot be: the command exits with 2."""


class Damaged(RuntimeError):
    """A file of a study is not what was written: the command exits with 1."""


class Stopped(Exception):
    """The user stopped the work; the message says what is safe, and how to go on."""
