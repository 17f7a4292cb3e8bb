"""``python -m avcc.evaluation``: rate, quality and time of avcc (and its peers) on your clips."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from avcc.errors import AvccError
from avcc.options import parse_rate
from avcc.terminal import Voice

EPILOG = """examples:
  python -m avcc.evaluation talks/ --rates 1k,2k,4k,8k
  python -m avcc.evaluation --manifest ../shared/data/clips/manifest.csv --split val --limit 6
  python -m avcc.evaluation talk.mp4 --coders avcc,frozen,warp,x265 --json out.json
  python -m avcc.evaluation talks/ --coders avcc,svtav1 --rates 2k,6k --page report-out"""

CODERS = """of avcc,frozen,warp,x264,x265,svtav1,aom,vp9,vvenc; av,audio-driven,video-driven are
avcc with one of its modes, live-4,live-2,live-1,live-0.4 live streams in segments of so many
seconds"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 0, or 1 where not one clip could be coded."""
    options = _parser().parse_args(arguments)
    from avcc.evaluation import bench

    try:
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
        if options.growth:
            return _growth(options.growth, paths[0], options.rates[0])
        return _measure(options, paths, arguments or sys.argv[1:])
    except (AvccError, OSError) as error:
        print(f"avcc.evaluation: {error}", file=sys.stderr)
        return 1


def _measure(options: argparse.Namespace, paths: list[Path], arguments: list[str]) -> int:
    """Everything into where it is wanted, after each clip; 0 where anything could be coded."""
    from avcc.evaluation import about, bench, folder, kinds, page, report, run, statements, tables
    from avcc.evaluation.films import Films
    from avcc.evaluation.kept import Kept

    absent = about.absent(options.coders)
    place = folder.claimed(options.page) if options.page else None
    meter = bench.Meter(options.perceptual, tuple(options.skip), options.stride)
    meter.notes += tuple(f"{coder} absent: {why}" for coder, why in absent.items())
    keep = options.keep or (place / folder.KEPT if place else None)
    plan = run.Plan(
        paths,
        [coder for coder in options.coders if coder not in absent],
        options.rates,
        options.seconds,
        Kept(keep, meter.identity) if keep else None,
        Films(place / folder.FILMS) if place else None,
        _languages(options),
    )
    command = "python -m avcc.evaluation " + shlex.join(arguments)
    parts = about.settings(options.coders), about.measures()
    told = page.Told("avcc beside other coders", command, *parts)
    voice, outcome = Voice(), run.Outcome()
    try:
        for outcome in run.clips_done(plan, meter, _teller(voice)):
            if options.json:
                report.write_json(options.json, outcome.rows, outcome.notes)
            if place and outcome.rows:
                page.write_page(place, outcome, told)
    except KeyboardInterrupt:
        voice.clear()
        where = f"; what was measured is in {keep}, and the same command goes on" if keep else ""
        print(f"interrupted{where}", file=sys.stderr)
        return 130
    voice.clear()
    if outcome.rows:
        print(report.table(outcome.rows))
        for pair in statements.tables(outcome.rows):
            print("\n" + tables.text(pair))
        if options.groups:
            print("\n" + kinds.table(outcome.rows))
    print("\nSettings")
    for name, how in parts[0]:
        print(f"  {name}: {how}")
    for note in outcome.notes:
        print(f"note: {note}")
    if place and outcome.rows:
        print(f"the page: {place / 'index.html'}")
    return 0 if any(row.size for row in outcome.rows) else 1


def _languages(options: argparse.Namespace) -> dict[Path, str]:
    """Of ``--manifest``, and of each folder that has a manifest of its own."""
    from avcc.evaluation import bench

    found = [path / bench.MANIFEST for path in options.paths if (path / bench.MANIFEST).is_file()]
    manifests = [*found, *([options.manifest] if options.manifest else [])]
    return {path: spoken for m in manifests for path, spoken in bench.languages(m).items()}


def _growth(lengths: Sequence[float], path: Path, rate: float) -> int:
    """Prints how time and memory grow, a table for what is done so far after each length."""
    from avcc.evaluation import growth

    found = []
    for length in growth.lengths(path, lengths, rate):
        found.append(length)
        print(f"{length.seconds:g} s done", file=sys.stderr)
    print(growth.table(found))
    return 0


def _teller(voice: Voice) -> Callable[[str, float], None]:
    """Says what is done now: one line of progress on a terminal, else a line each."""

    def tell(what: str, share: float) -> None:
        if sys.stderr.isatty():
            voice.progress(what, share)
        else:
            print(f"{share:4.0%} {what}", file=sys.stderr)

    return tell


def _rates(text: str) -> list[float]:
    return [parse_rate(part) for part in text.split(",")]


def _lengths(text: str) -> list[float]:
    found = [float(part) for part in text.split(",")]
    if not all(0 < seconds <= 36_000 for seconds in found):
        raise argparse.ArgumentTypeError("lengths are seconds, at most ten hours")
    return found


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
    add(
        "--growth",
        type=_lengths,
        nargs="?",
        const=(10, 60, 600),
        metavar="SECONDS,...",
        help="instead: time and memory of the first clip made so long (10,60,600), beside x264's",
    )
    add("--page", type=Path, help="also a page to look at, in this folder (and --keep in it)")
    add("--keep", type=Path, help="keep each measurement here, and go on from what is there")
    add("--perceptual", type=Path, help="folder of the perceptual networks (AVCC_PERCEPTUAL)")
    add(
        "--skip",
        type=_names,
        default=[],
        help="of pesq,stoi,visqol,dnsmos,plcmos,speaker,wer,memory: not wanted",
    )
    add("--groups", action="store_true", help="also means by how clips move, turn and are lit")
    add("--stride", type=int, default=1, help="perceptual distances on every so many frames (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
