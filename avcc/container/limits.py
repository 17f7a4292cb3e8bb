"""What a reader takes on the word of a file that a stranger made (docs/security.md).

The format itself allows more (docs/format.md). Memory and time follow from these numbers, so a few
bytes can't ask for a day of pictures; whoever expects a day says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from avcc.container.layout import FRAMES_MOST
from avcc.errors import FormatError
from avcc.stages import FRAME_RATE, SAMPLE_RATE, Head

BYTES_MOST = 1 << 28  # of a file; a day at 16 kbps has 173 million
CHUNKS_MOST = 1 << 18  # a day in segments of half a second; each costs a reader an object
TOLD_MOST = 100  # sentences about damage, and comments: more are counted only


@dataclass(frozen=True)
class Limits:
    """``seconds``: of picture or sound, whichever the head says is longer. ``key_frames``: each
    takes 200 kB of a decoder's memory. ``pixels``: of a whole picture, where the surroundings are
    sent; one of more is drawn smaller."""

    seconds: float = 2 * 3600
    key_frames: int = 1024
    pixels: int = 4096 * 2304

    def check(self, head: Head) -> None:
        """``FormatError`` where the head declares a longer clip."""
        longest = max(float(head.frames / FRAME_RATE), head.samples / SAMPLE_RATE)
        if longest > self.seconds:
            raise FormatError(
                f"The file declares {longest:.0f} s, and at most {self.seconds:.0f} s are allowed"
                " here; --max-duration (in Python: max_duration) allows more."
            )


DECODER = Limits()
ALL = Limits(float(FRAMES_MOST / FRAME_RATE), CHUNKS_MOST)  # what the format allows


def few(sentences: list[str]) -> list[str]:
    """At most ``TOLD_MOST`` of them, and how many more there were."""
    if len(sentences) <= TOLD_MOST:
        return sentences
    return [*sentences[:TOLD_MOST], f"And {len(sentences) - TOLD_MOST} more of that kind."]
