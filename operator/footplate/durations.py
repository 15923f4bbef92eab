"""How long something takes, in its largest unit and the next: short for columns, in words for sentences. Pure."""

_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))
_WORDS = {"m": "min"}


def short(seconds: float) -> str:
    """As kubectl writes an age: 45s, 1m30s, 3h20m. From ten of a unit on it is enough: 12m, 11h."""
    parts = _parts(seconds)
    return "".join(f"{many}{unit}" for many, unit in (parts[:1] if parts[0][0] >= 10 else parts))


def in_words(seconds: float) -> str:
    """For people: `45 s`, `12 min 5 s`, `3 d 4 h`."""
    return " ".join(f"{many:,} {_WORDS.get(unit, unit)}" for many, unit in _parts(seconds))


def _parts(seconds: float) -> list[tuple[int, str]]:
    """How many of which unit. A clock that is off makes it 0 s, never negative."""
    left = max(0, int(seconds))
    for unit, size, finer, finer_size in _UNITS:
        if left >= size:
            rest = left % size // finer_size
            return [(left // size, unit), *([(rest, finer)] if rest else [])]
    return [(left, "s")]
