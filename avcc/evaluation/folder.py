"""The folder of a page: what lies in it, and that nothing else is overwritten."""

from __future__ import annotations

from pathlib import Path

from avcc.errors import AvccError
from avcc.media.safe import temporary

FILMS = "films"
KEPT = "kept"
README = "README.txt"
MADE = "Made by python -m avcc.evaluation."
TOLD = f"""{MADE}

index.html   the page: curves, players, a blind comparison, tables; open it in a browser
films/       what the page plays
means.csv    means over clips, with intervals; rows.csv: every clip; report.json: all of it
kept/        what was measured, so that the same command goes on where it was ended

All of it is made anew by the next run into this folder; kept/ and films/ are used again.
"""


def claimed(folder: Path) -> Path:
    """``folder``, made if need be and marked as a page's. Raises ``AvccError`` where it holds
    something else, of which a page would overwrite some."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = [path.name for path in folder.iterdir()]
        if strange and not is_page(folder):
            raise AvccError(f"{folder} holds other things already; name a new folder for the page")
        with temporary(folder / README) as work:
            work.write_text(TOLD, encoding="utf-8")
    except OSError as error:
        raise AvccError(f"{folder} can't be a page's folder: {error.strerror}") from error
    return folder


def is_page(folder: Path) -> bool:
    """Whether a page was made there."""
    try:
        return (folder / README).read_bytes().startswith(MADE.encode())
    except OSError:
        return False
