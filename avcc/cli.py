"""The command line: a function a command. Heavy imports stand inside."""

from __future__ import annotations

import json
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import click

from avcc.errors import AvccError, ModelError
from avcc.files import Decoding, Encoding, Work
from avcc.options import (
    Rate,
    check_extras,
    extras,
    face,
    largest,
    longest,
    many,
    outputs,
    part,
    raw,
)
from avcc.stages import MODES, SEGMENT_SECONDS
from avcc.terminal import (
    DEFECT,
    FAILED,
    INTERRUPTED,
    OK,
    TERMINATED,
    USAGE,
    Voice,
    check_source,
    check_target,
    read_bytes,
    verdict,
)
from avcc.threads import sharing

DEVICES = ["auto", "cpu", "cuda", "mps"]

EVERYDAY = """\
avcc encode talk.mp4 -b 2kbps     a talking face becomes talk.avc
avcc decode talk.avc              and talk.avc becomes talk.decoded.mp4
avcc info talk.avc                what is inside, and what it costs
"""

CODES = """\
0    all is well
1    avcc can't do it: the clip, the file, the rate, the models or the disk; one sentence says why
     (of many inputs: some couldn't be done; a sentence each)
2    the command line isn't right
70   a defect of avcc; -v shows where
130  interrupted (Ctrl-C); 143 terminated
"""


class _Everyday(click.Group):
    """Help that begins with the three lines that most people need, and ends with exit codes."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for line in EVERYDAY.splitlines():
            formatter.write(f"  {line}\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            for line in CODES.splitlines():
                formatter.write(f"  {line}\n")


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        click.echo(f"avcc {version('avcc')}")
        ctx.exit()


@click.group(cls=_Everyday, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
              help="Show the version and exit.")  # fmt: skip
def cli() -> None:
    """A person talking to a camera, picture and voice, in about 2,000 bits a second. What comes
    back is synthetic: made by a model from very few bits. `avcc COMMAND --help` tells more."""


def _note(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    setattr(ctx.ensure_object(Voice), str(param.name), value)
    if value and param.name == "verbose":
        warnings.simplefilter("default")


_verbose = click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_note,
                        help="Show libraries' warnings, and where a defect lies.")  # fmt: skip


def _common(command: Callable[..., int]) -> Callable[..., int]:
    """The options that ``encode`` and ``decode`` share."""
    for option in (
        _verbose,
        click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_note,
                     help="Say nothing but errors."),
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True),
        click.option("-f", "--force", is_flag=True, help="Overwrite what is there."),
        click.option("-o", "--output", metavar="FILE", help="Where to; - is standard output."),
    ):  # fmt: skip
        command = option(command)
    return click.pass_obj(many(command))


@cli.command()
@click.argument("sources", metavar="CLIP...", nargs=-1, required=True)
@click.option("-b", "--bitrate", type=Rate(), default="2kbps", show_default=True,
              help="Ceiling for the whole file: 2kbps, 2k, 2000, 800bps, 0.002M.")  # fmt: skip
@click.option("--mode", type=click.Choice(MODES), default=MODES[0], show_default=True,
              help="What to send: motion and voice, the voice alone, motion alone.")  # fmt: skip
@extras
@click.option("--seed", type=click.IntRange(0, 65535), default=0, help="Of the decoder's noise.")
@longest
@largest(8192 * 4320, "Refuse larger pictures: memory grows with them.")
@_common
def encode(voice: Voice, sources: tuple[str, ...], bitrate: float, mode: str, scene: bool,
           fec: bool, live: bool, segment: float | None, seed: int, max_duration: float,
           max_pixels: int, device: str, force: bool, output: str | None,
           **options: Any) -> int:  # fmt: skip
    """CLIP (a video of a person talking; - is standard input) becomes a small .avc file.

    Without -o, talk.mp4 becomes talk.avc beside it. Many clips: see --out-dir and --jobs.
    """
    check_extras(live, scene, segment)
    limits = max_duration, max_pixels, device, force
    work = Encoding(bitrate, mode, scene, fec, seed, *limits, live, segment or SEGMENT_SECONDS)
    if _are_many(sources, **options):
        return _batch(voice, work, sources, output is not None, **options)
    check_source(sources[0])
    return _one(voice, work, sources[0], [(output or work.target(sources[0]), None)])


@cli.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@click.option("--steps", type=click.IntRange(1, 1000), help="Of the diffusion; more is slower.")
@click.option("--seed", type=click.IntRange(0, 65535), help="Other noise than the file's own.")
@face
@raw
@part
@longest
@largest(4096 * 2304, "Of a picture with its surroundings; a larger one is drawn smaller.")
@_common
def decode(voice: Voice, sources: tuple[str, ...], steps: int | None, seed: int | None,
           raw_video: str | None, raw_audio: str | None,
           start: float, duration: float | None, max_duration: float, alone: bool, max_pixels: int,
           device: str, force: bool, output: str | None, **options: Any) -> int:  # fmt: skip
    """FILE (.avc; - is standard input) becomes a video with sound.

    Without -o, talk.avc becomes talk.decoded.mp4 beside it. Many files: see --out-dir and --jobs.
    """
    work = Decoding(steps, seed, start, duration, max_duration, alone, max_pixels, device, force)
    if _are_many(sources, **options):
        named = any(name is not None for name in (output, raw_video, raw_audio))
        return _batch(voice, work, sources, named, **options)
    check_source(sources[0])
    wanted = outputs(output, raw_video, raw_audio, work.target(sources[0]))
    return _one(voice, work, sources[0], wanted)


def _one(voice: Voice, work: Work, source: str, targets: list[tuple[str, str | None]]) -> int:
    for name, _ in targets:
        check_target(name, source, work.force)
    for sentence in work(source, targets, voice.progress, voice.say):
        voice.say(sentence)
    return OK


def _are_many(sources: tuple[str, ...], **options: Any) -> bool:
    return len(sources) > 1 or any(value is not None for value in options.values())


def _batch(voice: Voice, work: Work, sources: tuple[str, ...], named: bool,
           out_dir: str | None, jobs: int | None, ray: str | None) -> int:  # fmt: skip
    if named:
        raise click.UsageError("an output can be named for one input alone; many have --out-dir")
    from avcc import batch, cluster, pool

    if ray:
        runner = partial(cluster.outcomes, address=ray, count=jobs or 1)
    else:
        runner = partial(pool.outcomes, count=jobs or 1, verbose=voice.verbose)
    return batch.run(sources, work, out_dir, voice, runner)


@cli.command()
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
@click.option("--check", "checks", is_flag=True,
              help="Verify every chunk, and say what decode does about damage.")  # fmt: skip
@_verbose
def info(source: str, as_json: bool, checks: bool) -> int:
    """What is inside FILE (.avc; - is standard input), and how its bits are spent.

    With --check the exit code is 1 if anything is damaged or missing.
    """
    check_source(source)

    from avcc.container import check, describe
    from avcc.container.limits import BYTES_MOST
    from avcc.container.read import read
    from avcc.weights import codebook

    data = read_bytes(source, BYTES_MOST)
    try:
        book = codebook(read(data).head.model)
    except ModelError:  # a file of another model can be described all the same
        book = None
    facts = describe.checked(data, book) if checks else describe.info(data, book)
    lines = check.lines(facts) if checks else describe.lines(facts)
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
    return OK if facts.get("whole", True) else FAILED


@cli.command()
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@_verbose
def doctor(device: str) -> None:
    """Look whether all is here that avcc needs, and decode a made-up clip of two seconds."""
    from avcc.doctor import findings

    found = []
    for finding in findings(device):
        click.echo(str(finding))
        found.append(finding)
    ill = [finding.name for finding in found if not finding.well]
    if ill:
        raise AvccError(f"{len(ill)} of {len(found)} checks failed: {', '.join(ill)}")


@cli.command()
@click.argument("folder", metavar="FOLDER")
@click.option("-f", "--force", is_flag=True, help="Overwrite what is there.")
@_verbose
def export(folder: str, force: bool) -> None:
    """Renderer and vocoder as ONNX files, each compared with PyTorch (docs/onnx.md)."""
    from pathlib import Path

    from avcc.export import export as exported

    for one in exported(Path(folder), force):
        click.echo(str(one))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    sharing()
    voice = Voice()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")

    def fail(code: int, sentence: str) -> int:
        voice.clear()
        if voice.verbose and code != INTERRUPTED:
            traceback.print_exc()
        click.echo(f"avcc: {sentence}", err=True)
        return code

    with suppress(ValueError):  # not in the main thread: signals aren't ours
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        # Click itself ends with 1, and silently, where nobody reads the output any more.
        return cli.main(arguments, "avcc", standalone_mode=False, obj=voice) or OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        return fail(USAGE, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return fail(INTERRUPTED, "interrupted")
    except Exception as error:
        code, sentence = verdict(error)
        hint = "; -v shows where" if code == DEFECT and not voice.verbose else ""
        return fail(code, sentence + hint)
