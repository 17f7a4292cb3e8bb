"""``python -m avcc.evaluation.data``: clips for a report, out of one's own videos.

Videos are yours to bring: files, or folders of them. With ``--list`` a list says which parts to
cut (``avcc.evaluation.lists``: one's own CSV, or the lists of HDTF, VFHQ, CelebV-HQ as their
authors publish them), else each video is one clip. A video is found by its name: that of the list,
or one that ends in it in brackets, as download tools name files. Every clip becomes 256x256 at
25 Hz with 16 kHz mono, finely coded (H.264, CRF 16), and stands in ``manifest.csv``.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from avcc.errors import AvccError
from avcc.evaluation.bench import MANIFEST, clip_paths, printable, spread
from avcc.evaluation.cuts import clip_of
from avcc.evaluation.films import PLAIN
from avcc.evaluation.lists import FORMS, Part, read
from avcc.media.safe import temporary
from avcc.media.write import write
from avcc.stages import FRAME_RATE

COLUMNS = ("file", "split", "video", "start", "seconds", "language", "side")
FRAMES = 250  # of a clip at most, 10 s: what a report takes of each clip by itself
NAMED = 5  # videos that aren't there are named so many at most


def main(arguments: list[str] | None = None) -> int:
    """Cut, and say what came of it; 0, 1 where no clip could be cut, 2 for a wrong command."""
    options = _parser().parse_args(arguments)
    if options.frames < 0:
        print("--frames is 0 (all) or more", file=sys.stderr)
        return 2
    out: Path = options.out
    try:
        videos = list(clip_paths(options.videos))
        parts = read(options.list, options.format) if options.list else _whole(videos)
        if not parts:
            print("there are no videos: name files or folders", file=sys.stderr)
            return 2
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not options.force:
            print(f"{out} isn't empty; -f overwrites clips of the same names", file=sys.stderr)
            return 2
        found, lost = paired(spread(parts, options.limit), videos)
        if lost:
            named = ", ".join(lost[:NAMED]) + (" ..." if len(lost) > NAMED else "")
            print(f"no video for {len(lost)} clips: {named}", file=sys.stderr)
        rows = list(_cut(found, out, options.frames))
        if rows:
            _manifest(out / MANIFEST, rows)
    except KeyboardInterrupt:
        return 130
    except (AvccError, OSError) as error:
        print(f"avcc.evaluation.data: {error}", file=sys.stderr)
        return 1
    print(f"{len(rows)} clips in {out}; next: make report DIR={out}")
    return 0 if rows else 1


def paired(
    parts: Sequence[Part], videos: Sequence[Path]
) -> tuple[list[tuple[Part, Path]], list[str]]:
    """Each part with its video; the names of those that have none."""
    by_name = {str(path): path for path in videos}
    for path in videos:
        by_name.setdefault(path.stem, path)
        if bracketed := re.search(r"\[([^\[\]]+)\]$", path.stem):
            by_name.setdefault(bracketed[1], path)
    found: list[tuple[Part, Path]] = []
    lost: list[str] = []
    for part in parts:
        known = [by_name[name] for name in part.videos if name in by_name]
        if known:
            found.append((part, known[0]))
        else:
            lost.append(printable(part.name))
    return found, lost


def file_name(name: str, taken: set[str]) -> str:
    """What a clip of a list is called as a file, in its own folder whatever the list says."""
    plain = re.sub(r"[^\w.+-]+", "_", name).strip("._-")[:100] or "clip"
    number, tried = 1, plain
    while tried.lower() in taken:
        number += 1
        tried = f"{plain}-{number}"
    taken.add(tried.lower())
    return f"{tried}.mp4"


def _whole(videos: Sequence[Path]) -> list[Part]:
    return [Part(path.stem, (str(path),)) for path in videos]


def _cut(found: Sequence[tuple[Part, Path]], out: Path, most: int) -> Iterator[dict[str, str]]:
    """A row of the manifest for each clip that was cut; the others are named with the reason."""
    taken: set[str] = set()
    for number, (part, path) in enumerate(found, 1):
        name = file_name(part.name, taken)
        try:
            clip = clip_of(path, part, most)
            write(out / name, clip, title=name, comment=PLAIN)
        except AvccError as error:
            print(printable(f"{part.name}: {error}"), file=sys.stderr)
            continue
        seconds, side = clip.count / float(FRAME_RATE), clip.crop.side if clip.crop else 0
        print(f"{number}/{len(found)} {name} {seconds:g} s", file=sys.stderr)
        cells = (name, "val", path.name, f"{part.start:g}", f"{seconds:g}", part.language, side)
        yield {column: str(cell) for column, cell in zip(COLUMNS, cells, strict=True)}


def _manifest(path: Path, rows: Sequence[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    with temporary(path) as work:
        work.write_text(text.getvalue(), encoding="utf-8", newline="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avcc.evaluation.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("videos", nargs="+", type=Path, help="videos, or folders of videos")
    add("--list", type=Path, help="which clips to cut: a file, or a folder of files")
    add("--format", choices=sorted(FORMS), default="", help="of the list (told by its names)")
    add("--out", type=Path, default=Path("data-out"), help="a new folder for the clips (data-out)")
    add("--frames", type=int, default=FRAMES, help=f"of each clip at most, 0: all ({FRAMES})")
    add("--limit", type=int, default=0, help="at most so many clips, evenly spread (all)")
    add("-f", "--force", action="store_true", help="into a folder that isn't empty")
    return parser


if __name__ == "__main__":
    sys.exit(main())
