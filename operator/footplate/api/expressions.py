"""Regular expressions of tenants, which meet any text: RE2's match in time that is linear in it, and are compiled in
milliseconds or not at all, where Python's own engine may take for ever.
"""

from functools import lru_cache
from typing import Any

MAX_MEMORY = 1_048_576
"""Bytes that one expression may take when compiled."""


def compile_expression(text: str) -> Any:
    """RE2's pattern, which searches bytes: a log may hold any.

    Raises:
        ValueError: it is none of RE2's syntax, or takes too much memory.
    """
    import re2  # only where a job has some

    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(f"{error}; RE2's syntax has neither lookahead nor lookbehind nor backreferences") from None


@lru_cache(maxsize=4096)
def program_size(text: str) -> int | None:
    """Instructions of what it is compiled to: to match a byte takes so many steps at most. None where it can't be
    compiled. Of forty in a job, which is read again and again, each is compiled once.
    """
    try:
        return int(compile_expression(text).programsize)
    except ValueError:
        return None


def is_expression(text: str) -> bool:
    """Whether it can be compiled."""
    return program_size(text) is not None
