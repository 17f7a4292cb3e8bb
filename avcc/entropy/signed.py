"""Signed values: symbols of a table, and plain bits for what is beyond it."""

from __future__ import annotations

from avcc.entropy.primitive import Walk
from avcc.entropy.tables import ESCAPE, REACH
from avcc.errors import FormatError

ESCAPE_BITS = 20  # magnitude bits after an escape, at most
VALUE_MOST = REACH + (1 << (ESCAPE_BITS + 1)) - 1  # the largest magnitude that can be coded


def signed(table: str, row: int, value: int | None) -> Walk[int]:
    """One signed value: a symbol of the table, or the escape and plain bits."""
    if value is not None and -REACH <= value <= REACH:
        yield table, row, value + REACH
        return value
    symbol: int = yield table, row, None if value is None else ESCAPE
    if symbol != ESCAPE:
        return symbol - REACH
    return (yield from escaped(value))


def escaped(value: int | None, least: int = REACH + 1) -> Walk[int]:
    """Sign bit, then Exp-Golomb bits of |value| - least: n ones, a zero, n bits of (that + 1)."""
    if value is not None and abs(value) > VALUE_MOST:
        raise FormatError(f"The value {value} is too large to be coded.")
    negative = yield "bit", 0, None if value is None else int(value < 0)
    shifted = None if value is None else abs(value) - least + 1
    length = 0
    while (yield "bit", 0, None if shifted is None else int(shifted >> (length + 1) > 0)):
        length += 1
        if length > ESCAPE_BITS:
            raise FormatError("An escaped value has too many bits.")
    found = 1
    for place in range(length - 1, -1, -1):
        bit = yield "bit", 0, None if shifted is None else shifted >> place & 1
        found = found << 1 | bit
    found += least - 1
    return -found if negative else found
