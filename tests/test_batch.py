"""Many inputs: what fails, dies or is there already never stops the rest, and codes tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import pytest

from avcc import batch, cli, pool
from avcc.files import Work
from avcc.jobs import Hear, Job, Outcome, attempt
from avcc.terminal import DEFECT, FAILED, INTERRUPTED, OK, TERMINATED, Voice
from tests import broken
from tests.broken import KINDS
from tests.works import STOP, Copy

ROOT = Path(__file__).parent.parent
# The command line, with copies in the place of clips.
COPY = (
    "import sys; from avcc import cli; from tests.works import copying;"
    " cli.Encoding = copying; sys.exit(cli.main())"
)


def inline(work: Work, jobs: Sequence[Job], hear: Hear) -> Generator[Outcome]:
    """In this process: what a batch says and returns, without the pool."""
    for job in jobs:
        yield attempt(work, job, partial(hear, job))


def files(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_text(name)
    return [str(folder / name) for name in names]


def run(sources: list[str], folder: Path, force: bool = False) -> int:
    return batch.run(sources, Copy(force), str(folder), Voice(), inline)


def test_the_rest_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = files(tmp_path, "a", "broken", "odd", "z")
    gone = str(tmp_path / "gone")
    assert run([*sources, gone, str(tmp_path)], tmp_path / "new" / "d") == FAILED
    assert sorted(os.listdir(tmp_path / "new" / "d")) == ["a.out", "odd.out", "z.out"]
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert [line for line in lines if "failed: " in line] == [
        f"avcc: failed: {gone}: there is no file {gone}",
        f"avcc: failed: {tmp_path}: {tmp_path} is a folder",
        f"avcc: failed: {sources[1]}: {sources[1]} is broken",
    ]
    assert f"avcc: {sources[2]}: it is odd" in lines
    assert lines[-1] == "avcc: 3 done, 3 failed"


def test_a_defect_has_its_code(tmp_path: Path) -> None:
    assert run(files(tmp_path, "a", "broken", "defect", "z"), tmp_path) == DEFECT
    assert {"a.out", "z.out"} <= set(os.listdir(tmp_path))


def test_what_is_there_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = files(tmp_path, "a", "b", "c")
    (tmp_path / "b.out").write_text("precious")
    assert run(sources, tmp_path) == OK
    assert (tmp_path / "b.out").read_text() == "precious"
    assert "avcc: 1 of 3 are there already and skipped\n" in capsys.readouterr().err
    assert run(sources, tmp_path) == OK
    assert capsys.readouterr().err.splitlines()[-1] == "avcc: 3 there already"
    assert run(sources, tmp_path, force=True) == OK
    assert (tmp_path / "b.out").read_text() != "precious"
    assert capsys.readouterr().err.splitlines()[-1] == "avcc: 3 done"


def test_an_empty_output_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = files(tmp_path, "a", "b")
    (tmp_path / "b.out").touch()
    assert run(sources, tmp_path) == FAILED
    assert "b.out is there, but empty; -f overwrites it\n" in capsys.readouterr().err
    assert not (tmp_path / "b.out").stat().st_size and (tmp_path / "a.out").stat().st_size
    assert run(sources, tmp_path, force=True) == OK
    assert (tmp_path / "b.out").stat().st_size


def test_quiet_says_failures_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice()
    voice.quiet = True
    assert batch.run(files(tmp_path, "a", "odd", "broken"), Copy(), None, voice, inline) == FAILED
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["d/a", "a"], "would both become"),
        (["a", "a.mp4"], "would both become"),
        (["a", "a.out"], "would both become"),
        (["a.b", "a.b.out.x", "a.b.out"], "would be both input and output"),
        (["a", "-"], "can't be one of many inputs"),
    ],
)
def test_outputs_that_would_be_lost(tmp_path: Path, names: list[str], sentence: str) -> None:
    (tmp_path / "d").mkdir()
    sources = [n if n == "-" else files(tmp_path, n)[0] for n in names]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(click.UsageError, match=sentence):
        run(sources, tmp_path, force=True)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_same_input_twice_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files(tmp_path, "a") * 3, tmp_path) == OK
    assert capsys.readouterr().err.splitlines()[-1] == "avcc: 1 done"


def test_progress_rises_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, float]] = []
    voice = Voice()
    monkeypatch.setattr(voice, "progress", lambda *what: shown.append(what))
    batch.run(files(tmp_path, "a", "broken", "c", "d"), Copy(), None, voice, inline)
    shares = [share for _, share in shown]
    assert shares == sorted(shares) and shares[0] == 1 / 16 and shares[-1] == 1
    assert shown[-1][0] == "4 of 4, 1 failed"


def test_a_process_loads_once_and_deaths_cost_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["dies", "killed", "broken", *(f"good{n}" for n in range(12))]
    jobs = [Job(source, f"{source}.out") for source in files(tmp_path, *names)]
    heard: list[float] = []
    found = {
        Path(outcome.job.source).name: outcome
        for outcome in pool.outcomes(Copy(), jobs, lambda job, share: heard.append(share), count=2)
    }
    assert set(found) == set(names)
    told = {name: outcome.told[-1] for name, outcome in found.items() if outcome.code}
    assert told == {
        "dies": "the process that was at it ended with code 9",
        "killed": "the process that was at it was ended by SIGKILL, perhaps for want of memory",
        "broken": f"{tmp_path / 'broken'} is broken",
    }
    notes = [Path(job.target).read_text().split() for job in jobs[3:]]
    assert len({note[0] for note in notes}) <= 2, "two processes at a time, though two died before"
    assert {note[1] for note in notes} == {"1"}
    assert {note[2] for note in notes} == {str(pool.cores_each(2))}
    assert "OMP_NUM_THREADS" not in os.environ
    assert heard and all(0 < share <= 1 for share in heard)


def test_cores_are_divided() -> None:
    all_of_them = pool.cores_each(1)
    assert all_of_them >= 1
    assert pool.cores_each(all_of_them) == 1 == pool.cores_each(1000 * all_of_them)


@pytest.mark.parametrize(
    "line",
    [["a", "b", "-o", "c"], ["a", "-o", "c", "--out-dir", "d"], ["a", "b", "--jobs", "0"], []],
)
def test_lines_that_arent_right(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("encode", "decode"):
        assert cli.main([command, *line]) == cli.USAGE
        said = capsys.readouterr().err
        assert said.startswith("avcc: ") and said.count("\n") == 1


def test_a_folder_that_cant_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = files(tmp_path, "a")
    assert cli.main(["encode", source, "--out-dir", source]) == FAILED
    assert capsys.readouterr().err == f"avcc: {source}: file exists\n"


@contextmanager
def started(folder: Path, *line: str) -> Iterator[subprocess.Popen[str]]:
    """A batch in a group of its own, as a shell would start it, until an output is half there."""
    process = subprocess.Popen(
        [sys.executable, "-c", COPY, "encode", *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while len(half(folder)) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def half(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_batch_that_is_ended_goes_on_later(tmp_path: Path, sign: str) -> None:
    code = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGKILL": -9}[sign]
    names = ["a.mp4", "b.mp4", "c.mp4"]
    files(tmp_path, STOP, *names)
    (tmp_path / "z.mp4").write_text("z")
    (tmp_path / "z.out").write_text("from before")
    line = [*names, "z.mp4", "--jobs", "2"]
    with started(tmp_path, *line) as process:
        if sign == "SIGINT":  # Ctrl-C reaches all of the group
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(getattr(signal, sign))
        said = process.communicate(timeout=120)[1]
    assert process.returncode == code
    if sign != "SIGKILL":
        assert "Traceback" not in said
        assert "avcc: 1 there already, 3 not done; the same command goes on\n" in said
    ended = time.monotonic() + 60
    while half(tmp_path) and time.monotonic() < ended:
        time.sleep(0.05)  # processes whose starter was killed find out by themselves
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "z.mp4", STOP, "z.out"])
    (tmp_path / STOP).unlink()
    again = subprocess.run(
        [sys.executable, "-c", COPY, "encode", *line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert again.returncode == OK
    assert again.stderr.splitlines()[0] == "avcc: 1 of 4 are there already and skipped"
    assert again.stderr.splitlines()[-1] == "avcc: 3 done, 1 there already"
    assert (tmp_path / "z.out").read_text() == "from before"


@pytest.mark.skipif(
    not (ROOT / "weights" / "manifest.json").exists(), reason="weights/manifest.json is absent"
)
@pytest.mark.parametrize("command", KINDS)
def test_broken_files_among_sound_ones(tmp_path: Path, command: str) -> None:
    """Real networks: ``python -m tests.broken`` does more of it."""
    told = broken.run(command, 4, 1, 1, tmp_path, resumed=False)
    assert "sound 1 + 0, text 0 + 1, empty 0 + 1" in told
