"""What two attempts' errors have in common where they are the same: all but what differs from pod to pod. Pure."""

import re

from footplate.api.status import FailureStatus

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = 'File "'
_FOLDER = re.compile(r'(?<=File ")[^"\n]*/(?=[^"/\n]+")')
_VARIES = re.compile(r"\b0x[0-9a-f]+|\d\d:\d\d:\d\d[.,\d]*|\bpid\b\D{0,4}\d+")
"""Addresses, times and process ids."""
_POD = re.compile(r"^pod \S+ (?:on node \S+ )?")
_MUTE = re.compile(r"ended with exit code \d+(?:; its log says more)?")
"""Nobody has said anything: two ends that look alike prove nothing."""
_PASSES = re.compile(
    r"connect|time(?:d |-)?out|unavailable|unreachable|temporar|refused|reset by|broken pipe|resol|gai_?error|"
    r"getaddrinfo|name or service|no such host|unknown host|no address associated|network|http|ssl|busy|"
    r"address already in use|too many|rate limit|\b(?:429|50[0234])\b|input/output error|stale file|no space left|"
    r"read-only file|nvml|nvidia driver|cuda driver",
    re.IGNORECASE,
)
"""What networks, services and nodes say: it may be otherwise the next time, or elsewhere."""


def error_words(failure: FailureStatus) -> str:
    """The traceback that came last, without folders and what `_VARIES`; else the message, without the pod's name too.
    Empty where nothing was said.
    """
    trace = failure.traceback or ""
    text = trace.rpartition(_TRACEBACK)[2] if _FRAME in trace else failure.message
    words = _VARIES.sub("", _FOLDER.sub("", _POD.sub("", text))).strip()
    return "" if _MUTE.fullmatch(words) else words


def may_pass(words: str) -> bool:
    """True where such an error may be the network's, and so another one's each time."""
    return _PASSES.search(words) is not None
