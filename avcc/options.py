"""Options that commands share; values that a person writes: bit rates, and times as ffmpeg does."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from avcc.stages import SEGMENT_SECONDS

_TIME = re.compile(r"(?:(?:([0-9]{1,3}):)?([0-5]?[0-9]):)?([0-9]{1,7}(?:\.[0-9]*)?)s?")

_RATE = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kKM]?)\s*(?:bps|bits?/s|b/s)?")


def parse_time(text: str) -> float:
    """Seconds from ``90``, ``2.5``, ``90s``, ``1:30`` or ``1:02:03.5``.

    Raises ``ValueError`` with a sentence where it's none of these.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or (match[2] and float(match[3]) >= 60):
        raise ValueError(f"{text!r} isn't a time; write it like 90, 2.5, 1:30 or 1:02:03")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + float(match[3])


def parse_rate(text: str) -> float:
    """Bits a second from ``2kbps``, ``2k``, ``2000``, ``800bps``, ``0.002M`` or ``2 kbps``.

    Raises ``ValueError`` with a sentence where it's none of these, or zero.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} isn't a bit rate; write it like 2kbps, 2k, 2000 or 800bps")
    rate = float(match[1]) * {"": 1.0, "k": 1e3, "M": 1e6}[match[2].replace("K", "k")]
    if rate <= 0 or not math.isfinite(rate):
        raise ValueError(f"{text!r} isn't a bit rate; it has to be more than zero")
    return rate


class Rate(click.ParamType):
    """A bit rate, as ``parse_rate`` takes it."""

    name = "rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Bits a second."""
        try:
            return parse_rate(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType):
    """A time in seconds; ``least``: below it nothing is taken."""

    name = "time"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_time(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self._least:
            self.fail(f"{value!r} is less than {self._least:g} s", param, ctx)
        return seconds


def longest(command: Any) -> Any:
    """The option ``--max-duration`` of ``encode`` and ``decode``."""
    told = "Refuse what is longer: memory grows with it."
    limit = click.option("--max-duration", type=Time(0.001), default="2:00:00",
                         show_default=True, help=told)  # fmt: skip
    return limit(command)


def largest(default: int, told: str) -> Any:
    """The option ``--max-pixels`` of ``encode`` or ``decode``."""
    return click.option("--max-pixels", type=click.IntRange(1), default=default,
                        show_default=True, help=told)  # fmt: skip


def extras(command: Any) -> Any:
    """The options ``--scene``, ``--fec``, ``--live`` and ``--segment`` of ``encode``."""
    for option in (
        click.option("--segment", type=click.FloatRange(0.4, SEGMENT_SECONDS), metavar="SECONDS",
                     help="Of --live: what is waited for; less is sooner, and takes more bits."
                     f" [default: {SEGMENT_SECONDS:g}]"),
        click.option("--live", is_flag=True,
                     help="Write each segment when it is there: for a clip that isn't over."),
        click.option("--fec", is_flag=True,
                     help="Send a coarse copy of each segment, for where it is lost."),
        click.option("--scene", is_flag=True,
                     help="Send a still of the surroundings, for an eighth of the bytes."),
    ):  # fmt: skip
        command = option(command)
    return command


def check_extras(live: bool, scene: bool, segment: float | None) -> None:
    """``UsageError`` where they don't go together."""
    if live and scene:
        raise click.UsageError("--scene looks at a whole clip, and --live has none")
    if segment and not live:
        raise click.UsageError("--segment is for --live")


def face(command: Any) -> Any:
    """The option ``--face`` of ``decode``."""
    told = "The face alone, where the file has its surroundings."
    return click.option("--face", "alone", is_flag=True, help=told)(command)


def part(command: Any) -> Any:
    """The options ``--start`` and ``--duration`` of ``decode``."""
    for option in (
        click.option("--duration", type=Time(0.001), help="Of the part; else the rest."),
        click.option("--start", type=Time(), default="0", help="Decode a part, from here on."),
    ):
        command = option(command)
    return command


def many(command: Any) -> Any:
    """The options of ``encode`` and ``decode`` that are for many inputs."""
    for option in (
        click.option("--ray", metavar="ADDRESS",
                     help="Of many inputs, on this Ray cluster: auto, HOST:PORT, ray://HOST:PORT."),
        click.option("--jobs", type=click.IntRange(1, 1024), metavar="N",
                     help="Of many inputs, so many at a time; each takes its memory. [default: 1]"),
        click.option("--out-dir", metavar="FOLDER",
                     help="Outputs go there; what is there already is skipped."),
    ):  # fmt: skip
        command = option(command)
    return command


def raw(command: Any) -> Any:
    """The options ``--raw-video`` and ``--raw-audio`` of ``decode``."""
    for name, what in (("--raw-audio", "sound as WAV"), ("--raw-video", "pictures as Y4M")):
        told = f"Instead of -o: {what}; - is standard output."
        command = click.option(name, metavar="FILE", help=told)(command)
    return command


def outputs(
    output: str | None, raw_video: str | None, raw_audio: str | None, usual: str
) -> list[tuple[str, str | None]]:
    """(where to, and the extension of what is written there if the name doesn't say it), the sound
    first, since it's there before the pictures; ``usual`` where nothing is asked for."""
    raws: list[tuple[str, str | None]] = [
        (name, ending) for name, ending in ((raw_audio, ".wav"), (raw_video, ".y4m")) if name
    ]
    if raws and output:
        raise click.UsageError("--raw-video and --raw-audio stand instead of -o, not beside it")
    if len({name for name, _ in raws}) < len(raws):
        raise click.UsageError("--raw-video and --raw-audio need a file each; one of them can be -")
    return raws or [(output or usual, None)]
