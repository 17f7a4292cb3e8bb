"""What came back from each coder as files that a browser plays, in a folder of their own.

VP9 and Opus in WebM: every browser of today plays them, also a Chromium that was built without
licensed codecs. They are coded so finely (CRF 20, Opus at 48 kbps) that little is lost, but they
are for eyes and ears: every figure is taken before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avcc.evaluation import strips
from avcc.media.safe import temporary
from avcc.media.write import COMMENT, write
from avcc.stages import Clip

PLAIN = "For comparison: made by the evaluation of avcc"


class Films:
    """A folder of films, named by the digest of what they show."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def name(self, key: str) -> str:
        """The file's name; it says nothing of the coder, so that a blind comparison stays one."""
        return f"{key[:20]}.webm"

    def has(self, name: str) -> bool:
        return bool(name) and all((self.folder / n).is_file() for n in (name, strips.name(name)))

    def keep(
        self, key: str, frames: np.ndarray, audio: np.ndarray | None, *, synthetic: bool
    ) -> str:
        """Write frames uint8 (N, 256, 256, 3) and 16 kHz sound, and five of the frames beside it
        (``strips``); the film's name. Raises ``AvccError``."""
        name = self.name(key)
        with temporary(self.folder / strips.name(name)) as work:
            work.write_bytes(strips.strip(frames))
        clip = Clip(frames, len(frames), audio)
        comment = COMMENT if synthetic else PLAIN
        write(self.folder / name, clip, title=name, comment=comment)
        return name
