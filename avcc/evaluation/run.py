"""A whole run: every clip by every coder at every rate, going on from what is kept already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from avcc.errors import AvccError
from avcc.evaluation.bench import FAILED, Meter, Row, Source, printable, source_of
from avcc.evaluation.digests import digest, digest_of
from avcc.evaluation.films import Films
from avcc.evaluation.kept import Kept
from avcc.evaluation.ours import WAYS


@dataclass(frozen=True)
class Plan:
    """What is to be measured; ``kept`` and ``films`` where it is to be kept and shown."""

    paths: Sequence[Path]
    coders: Sequence[str]
    rates: Sequence[float]
    seconds: float
    kept: Kept | None = None
    films: Films | None = None
    languages: Mapping[Path, str] = field(default_factory=dict)  # what is spoken, where it is known

    @property
    def count(self) -> int:
        """How many rows it makes at most."""
        return len(self.paths) * len(self.coders) * len(self.rates)


@dataclass
class Outcome:
    """What has been measured so far."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)  # clip: the film of its source


def clips_done(plan: Plan, meter: Meter, say: Callable[[str, float], None]) -> Iterator[Outcome]:
    """The outcome so far, after each clip. ``say`` hears what begins and the share that is done.

    A clip that can't be read, or shows no face, becomes a note.
    """
    outcome = Outcome(notes=list(meter.notes))
    done, each = 0, len(plan.coders) * len(plan.rates)
    for path, name in zip(plan.paths, names(plan.paths), strict=True):
        try:
            for row in _rows(path, name, plan, meter, outcome, partial(_told, say, done, plan)):
                row.language = plan.languages.get(path, "")  # no part of what is kept
                outcome.rows.append(row)
        except (AvccError, OSError) as error:
            outcome.notes.append(printable(f"{name}: {error}"))
        done += each
        yield outcome


def _told(say: Callable[[str, float], None], before: int, plan: Plan, what: str, at: int) -> None:
    say(what, (before + at) / plan.count)


def _rows(
    path: Path,
    name: str,
    plan: Plan,
    meter: Meter,
    outcome: Outcome,
    told: Callable[[str, int], None],
) -> Iterator[Row]:
    clip = digest(digest_of(path), f"{plan.seconds:.17g}") if plan.kept or plan.films else ""
    source: Source | None = None
    if plan.films is not None:
        film = plan.films.name(clip)
        if not plan.films.has(film):
            source = source_of(path, plan.seconds, name)
            plan.films.keep(clip, source.frames, source.clip.audio, synthetic=False)
        outcome.sources[name] = film
    at = 0
    for coder in plan.coders:
        for rate in plan.rates:
            told(f"{name} {coder} {rate:g}", at)
            at += 1
            key = plan.kept.key(clip, coder, rate) if plan.kept else digest(clip, coder, str(rate))
            row = plan.kept.row(key, name) if plan.kept else None
            if row is None or (plan.films and row.size and not plan.films.has(row.film)):
                source = source or source_of(path, plan.seconds, name)
                show = None
                if plan.films is not None:
                    show = partial(plan.films.keep, key, synthetic=coder in WAYS)
                row = meter.row(source, coder, rate, show)
                if plan.kept is not None and not row.note.startswith(FAILED):
                    plan.kept.keep(key, row)
            yield row


def names(paths: Sequence[Path]) -> list[str]:
    """What clips are called: their files' names without extension, with as much of what stands
    before as tells them apart. Signs that can't be printed are replaced."""
    tails = [printable(path.stem) for path in paths]
    for depth in range(1, 1 + max((len(path.parts) for path in paths), default=0)):
        if len(set(tails)) == len(tails):
            break
        twice = {tail for tail in tails if tails.count(tail) > 1}
        tails = [
            printable("/".join(path.parts[-depth:])) if tail in twice else tail
            for path, tail in zip(paths, tails, strict=True)
        ]
    return [tail if tails.count(tail) == 1 else f"{tail} #{i}" for i, tail in enumerate(tails, 1)]
