"""Many payloads read side by side, so that priors foretell a symbol of each at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from avcc.entropy.foretold import Foretold
from avcc.entropy.payload import Decoder
from avcc.entropy.primitive import Walk, next_ask
from avcc.errors import FormatError

_Found = TypeVar("_Found")


def read_together(pairs: Iterable[tuple[Decoder, Walk[_Found]]]) -> list[_Found | None]:
    """What each traversal finds in its payload; ``None`` where that makes no sense."""
    reading = list(pairs)
    found: list[_Found | None] = [None] * len(reading)
    answers: dict[int, int | None] = dict.fromkeys(range(len(reading)))
    while answers:
        foretold, asked = Foretold(), []
        for number, answer in answers.items():
            decoder, walk = reading[number]
            try:
                foretold.add(next_ask(decoder, walk, answer))
                asked.append(number)
            except StopIteration as stop:
                found[number] = _closed(decoder, stop.value)
            except FormatError:
                continue
        answers = {}
        for number, row in zip(asked, foretold.taken(), strict=True):
            try:
                answers[number] = reading[number][0].read(row)
            except FormatError:
                continue
    return found


def _closed(decoder: Decoder, found: _Found) -> _Found | None:
    try:
        decoder.close()
    except FormatError:
        return None
    return found
