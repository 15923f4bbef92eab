"""Packs samples of different lengths into rows of one length. Pure."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Which samples come into which row: each as a whole, by best fit in the order of decreasing lengths.

    A row's samples, and the rows by their first ones, are in the samples' order. The same for the same lengths.

    Args:
        lengths: of the samples, each at most `room`.
        room: of a row.
    """
    rows: list[list[int]] = []
    with_space: dict[int, list[int]] = {}
    spaces = 0  # bit n is set where there is a row with n left: the lowest one that fits is found at once
    for sample in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        length = lengths[sample]
        if fitting := spaces >> length:
            space = length + (fitting & -fitting).bit_length() - 1
            row = with_space[space].pop()
            if not with_space[space]:
                spaces ^= 1 << space
        else:
            space, row = room, len(rows)
            rows.append([])
        rows[row].append(sample)
        if left := space - length:
            with_space.setdefault(left, []).append(row)
            spaces |= 1 << left
    return sorted(sorted(row) for row in rows)
