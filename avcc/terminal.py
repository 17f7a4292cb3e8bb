"""What a command says, is told and asked for: stderr, and its input and output."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import click

from avcc.errors import AvccError

OK, FAILED, USAGE, DEFECT, INTERRUPTED, TERMINATED = 0, 1, 2, 70, 130, 143  # exit codes


def verdict(error: Exception) -> tuple[int, str]:
    """The exit code that an error means, and its sentence."""
    if isinstance(error, AvccError):
        return FAILED, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return FAILED, f"{where}{(error.strerror or str(error)).lower()}"
    return DEFECT, f"unexpected {type(error).__name__}: {error}"


class Voice:
    """What a person is told on stderr: sentences, and one line of progress."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False
        self._shown = ""
        self._when = 0.0

    def say(self, sentence: str) -> None:
        """One line, unless ``-q``."""
        if not self.quiet:
            self.clear()
            click.echo(f"avcc: {sentence}", err=True)

    def progress(self, stage: str, fraction: float) -> None:
        """Draw the line of progress anew, where stderr is a terminal."""
        now = time.monotonic()
        if self.quiet or not sys.stderr.isatty() or (now - self._when < 0.1 and fraction < 1):
            return
        self._when = now
        part = min(max(fraction, 0.0), 1.0)
        line = f"{stage:<12.40} [{'#' * round(30 * part):<30}] {part:4.0%}"
        sys.stderr.write(f"\r{line:<{len(self._shown)}}")
        sys.stderr.flush()
        self._shown = line

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown:
            sys.stderr.write(f"\r{'':<{len(self._shown)}}\r")
            sys.stderr.flush()
            self._shown = ""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that end the program wait until the block is done."""
    caught: list[int] = []
    kept = {}
    with suppress(ValueError):  # not in the main thread: signals aren't ours
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                kept[number] = signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        for ends, handler in kept.items():
            signal.signal(ends, handler)
    for first in caught[:1]:
        signal.raise_signal(first)


def read_bytes(name: str, most: int) -> bytes:
    """What a file holds, or standard input where the name is ``-``: at most ``most`` bytes and a
    few more, by which whoever reads them knows that it is too long."""
    if name == "-":
        return _start(sys.stdin.buffer, most)
    with open(name, "rb") as file:
        return _start(file, most)


def _start(file: BinaryIO, most: int) -> bytes:
    out = bytearray()
    while len(out) <= most and (part := file.read(1 << 20)):  # at once would reserve it all
        out += part
    return bytes(out)


def check_source(name: str) -> None:
    """Raise with a sentence where there's nothing to read."""
    if name == "-":
        if sys.stdin.isatty():
            raise click.UsageError("- means standard input, and that is the terminal here")
    elif os.path.isdir(name):
        raise AvccError(f"{name} is a folder")
    elif not os.path.exists(name):
        raise AvccError(f"there is no file {name}")


def check_target(name: str, source: str, force: bool) -> None:
    """Raise with a sentence where the target can't be written or would be lost."""
    if name == "-":
        if sys.stdout.isatty():
            raise click.UsageError("binary data isn't for a terminal; give -o FILE, or a pipe")
        return
    folder = os.path.dirname(os.path.realpath(name))
    if not os.path.isdir(folder):
        raise AvccError(f"there is no folder {folder}")
    if os.path.exists(name):
        if source != "-" and os.path.samefile(source, name):
            raise click.UsageError(f"{name} would be both input and output")
        if os.path.isfile(name) and not force:
            raise AvccError(f"{name} exists already; -f overwrites it")
    elif not os.access(folder, os.W_OK):
        raise AvccError(f"{name} can't be written: no permission in {folder}")
