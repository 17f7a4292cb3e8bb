"""``python -m avcc.evaluation``: rate, quality and time of avcc (and its peers) on your clips."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avcc.cli import parse_rate
from avcc.errors import AvccError

EPILOG = """examples:
  python -m avcc.evaluation talks/ --rates 1k,2k,4k,8k
  python -m avcc.evaluation --manifest ../shared/data/clips/manifest.csv --split val --limit 6
  python -m avcc.evaluation talk.mp4 --coders avcc,frozen,warp,x265 --json out.json"""

CODERS = """of avcc,frozen,warp,x264,x265,svtav1,vp9; av,audio-driven,video-driven are avcc with
one of its modes"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 0, or 1 where not one clip could be coded."""
    options = _parser().parse_args(arguments)
    from avcc.evaluation import bench, groups, report

    paths = list(bench.clip_paths(options.paths))
    if options.manifest:
        paths += bench.manifest_paths(options.manifest, options.split)
    paths = bench.spread(paths, options.limit)
    if not paths:
        print("there are no clips: name files, folders or a --manifest", file=sys.stderr)
        return 2
    unknown = set(options.coders) - set(bench.CODERS)
    if unknown:
        known = ", ".join(bench.CODERS)
        print(f"no coder is called {', '.join(unknown)}; there are {known}", file=sys.stderr)
        return 2
    meter = bench.Meter(options.perceptual, tuple(options.skip), options.stride)
    notes = list(meter.notes)
    rows = []
    for number, path in enumerate(paths, 1):
        try:
            source = bench.source_of(path, options.seconds)
        except AvccError as error:
            notes.append(f"{path}: {error}")
            continue
        for coder in options.coders:
            for rate in options.rates:
                print(f"{number}/{len(paths)} {source.name} {coder} {rate:g}", file=sys.stderr)
                rows.append(meter.row(source, coder, rate))
                if rows[-1].note:
                    print(f"    {rows[-1].note}", file=sys.stderr)
        if options.json:
            report.write_json(options.json, rows, notes)
    if rows:
        print(report.table(rows))
        if options.groups:
            print("\n" + groups.table(rows))
    for note in notes:
        print(f"note: {note}")
    return 0 if any(row.size for row in rows) else 1


def _rates(text: str) -> list[float]:
    return [parse_rate(part) for part in text.split(",")]


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avcc.evaluation",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, help="clips, or folders of clips")
    add("--rates", type=_rates, default=_rates("1k,2k,4k,8k"), help="bits a second, of everything")
    add("--coders", type=_names, default=["avcc"], help=CODERS)
    add("--seconds", type=float, default=10.0, help="of each clip, from its start (10)")
    add("--limit", type=int, default=0, help="at most so many clips, evenly spread (all)")
    add("--manifest", type=Path, help="CSV with the columns file and split")
    add("--split", default="val", help="the manifest's rows to take (val)")
    add("--json", type=Path, help="also write everything here, after each clip")
    add("--perceptual", type=Path, help="folder of the perceptual networks (AVCC_PERCEPTUAL)")
    add("--skip", type=_names, default=[], help="of pesq,stoi,dnsmos,speaker,wer: not wanted")
    add("--groups", action="store_true", help="also means by how clips move, turn and are lit")
    add("--stride", type=int, default=1, help="perceptual distances on every so many frames (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
