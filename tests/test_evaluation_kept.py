"""Measurements that are kept: a run that was ended goes on, and nothing stale is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import av
import numpy as np
import pytest

from avcc.evaluation import bench, kept, run
from avcc.evaluation.__main__ import main
from avcc.evaluation.bench import Meter, Row, Source
from avcc.evaluation.films import Films
from avcc.evaluation.kept import Kept
from avcc.evaluation.run import Plan, clips_done, names
from avcc.stages import Clip
from tests.clips import Recipe, clicks, make
from tests.test_imports import imported

SKIPPED = ("pesq", "stoi", "visqol", "dnsmos", "plcmos", "speaker", "wer", "memory")


class Counting(Meter):
    """A meter that counts what it measures, and is interrupted where it is told to be."""

    def __init__(self, stop: int = 10**9) -> None:
        super().__init__(None, SKIPPED, 1)
        self.measured: list[tuple[str, str, float]] = []
        self.stop = stop

    def row(self, source: Source, coder: str, rate: float, show: object = None) -> Row:
        if len(self.measured) == self.stop:
            raise KeyboardInterrupt
        self.measured.append((source.name, coder, rate))
        film = show(source.frames, source.clip.audio) if callable(show) else ""
        features = np.ones((2, 512), np.float32), np.zeros((2, 512), np.float32)
        values = {"kbps": rate / 1000}
        return Row(source.name, coder, rate, 1, 9, values, features=features, film=film)


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files that stand for clips; what is read of them is made up."""
    frames = np.zeros((3, 256, 256, 3), np.uint8)
    made = lambda path, _, name: Source(name, Clip(frames, 3, None), frames, None)  # noqa: E731
    monkeypatch.setattr(run, "source_of", made)
    paths = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def plan(
    clips: list[Path], place: Path, films: bool = False, rates: tuple[float, ...] = (2e3, 4e3)
) -> Plan:
    shown = Films(place / "films") if films else None
    return Plan(clips, ("frozen", "x264"), rates, 1.0, Kept(place, ["measures"]), shown)


def rows(plan: Plan, meter: Meter) -> list[Row]:
    return list(clips_done(plan, meter, lambda *_: None))[-1].rows


def test_an_interrupted_run_goes_on(clips: list[Path], tmp_path: Path) -> None:
    first = Counting(stop=5)
    with pytest.raises(KeyboardInterrupt):
        rows(plan(clips, tmp_path / "kept"), first)
    second = Counting()
    found = rows(plan(clips, tmp_path / "kept"), second)
    assert len(first.measured) == 5 and len(second.measured) == 3
    assert first.measured + second.measured == [(r.clip, r.coder, r.asked) for r in found]
    whole = rows(plan(clips, tmp_path / "other"), Counting())
    assert [row.as_dict() for row in whole] == [row.as_dict() for row in found]
    assert all(row.features is not None and row.features[0].sum() == 1024 for row in found)


def test_only_what_changed_is_measured_again(clips: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "kept"
    rows(plan(clips, place), Counting())
    clips[1] = clips[1].rename(tmp_path / "renamed.mp4")
    again = Counting()
    found = rows(plan(clips, place, rates=(2e3, 4e3, 8e3)), again)
    assert [(clip, rate) for clip, _, rate in again.measured] == [
        (clip, 8e3) for clip in ("one", "renamed") for _ in range(2)
    ]
    assert [row.clip for row in found] == ["one"] * 6 + ["renamed"] * 6
    clips[0].write_bytes(b"another clip")
    again = Counting()
    rows(plan(clips, place), again)
    assert {clip for clip, *_ in again.measured} == {"one"}


def test_films_that_are_gone_are_made_again(clips: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "page"
    found = rows(plan(clips[:1], place, films=True, rates=(2e3,)), Counting())
    films = sorted(path.name for path in (place / "films").glob("*.webm"))
    assert len(films) == 3 and {row.film for row in found} < set(films)
    with av.open(str(place / "films" / films[0])) as box:
        assert sum(1 for _ in box.decode(video=0)) == 3
    (place / "films" / found[0].film).unlink()
    again = Counting()
    assert rows(plan(clips[:1], place, films=True, rates=(2e3,)), again)[0].film == found[0].film
    assert again.measured == [("one", "frozen", 2e3)]


def test_a_coder_that_breaks_is_tried_again(clips: list[Path], tmp_path: Path) -> None:
    class Broken(Meter):
        def _coded(self, *_: object) -> NoReturn:
            raise OSError(28, "No space left on device")

    found = rows(plan(clips, tmp_path / "kept"), Broken(None, SKIPPED, 1))
    assert {row.note for row in found} == {"failed: OSError: [Errno 28] No space left on device"}
    assert len(found) == 8 and not any((tmp_path / "kept").iterdir())


def test_what_makes_another_row(tmp_path: Path) -> None:
    one, other = (Kept(tmp_path, measures) for measures in (["pesq 1"], ["pesq 2"]))
    keys = [one.key("clip", "x264", 2000), one.key("clip", "x265", 2000)]
    keys += [one.key("clip", "x264", 2001), one.key("clips", "x264", 2000)]
    keys += [other.key("clip", "x264", 2000), one.key("clip", "avcc", 2000)]
    assert len(set(keys)) == 6
    assert Kept(tmp_path, ["pesq 1"]).key("clip", "x264", 2000) == keys[0]


def test_other_weights_make_another_coder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept.coder_identity("avcc"), kept.coder_identity("x264")
    manifest = tmp_path / kept.weights.MANIFEST
    manifest.write_text("{}")
    monkeypatch.setenv(kept.weights.FOLDER_VARIABLE, str(tmp_path))
    assert kept.coder_identity("avcc") != before[0]
    assert kept.coder_identity("x264") == before[1]


def test_code_that_a_row_follows_from() -> None:
    """All that the bench imports of the evaluation, on and on, is in the keys."""
    known, new = set(), {"bench"}
    while new:
        known |= new
        here = (kept.PACKAGE / "evaluation" / f"{name}.py" for name in new)
        found = {name for path in here for name in imported(path)}
        new = {n.split(".")[2] for n in found if n.startswith("avcc.evaluation.")} - known
    assert known - {"folder", "digests"} == {*kept.PEERS, *kept.MEASURES}


def test_damaged_rows_are_absent_ones(tmp_path: Path) -> None:
    keep = Kept(tmp_path, [])
    row = Row("talk", "avcc", 2000, 4, 9, {"kbps": 2.0}, {"turn": 3.0}, setting="as it is")
    keep.keep("key", row)
    assert keep.row("key", "talk") == row
    assert keep.row("none", "talk") is None
    for text in ("", "[]", '{"clip": 1}', json.dumps(row.as_dict())[:-9]):
        (tmp_path / "key.json").write_text(text)
        assert keep.row("key", "talk") is None
    failed = Row("talk", "x264", 2000, 4, note="cannot go this low")
    keep.keep("failed", failed)
    assert keep.row("failed", "talk") == failed, "what can't be done isn't tried again"


def test_names_that_tell_clips_apart() -> None:
    assert names([]) == [] and names([Path("a/x.mp4")]) == ["x"]
    assert names([Path("a/x.mp4"), Path("b/x.mp4"), Path("y.mp4")]) == ["a/x.mp4", "b/x.mp4", "y"]
    assert names([Path("x.mp4"), Path("x.webm")]) == ["x.mp4", "x.webm"]
    assert len(set(names([Path("x.mp4")] * 2))) == 2
    hostile = names([Path("a\nb\x1b[2J.mp4"), Path("caf\udce9.mp4")])
    assert hostile == ["a\ufffdb\ufffd[2J", "caf\ufffd"]


def test_the_command_makes_a_page_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AVCC_PERCEPTUAL", raising=False)
    clip = make(tmp_path / "<b>.mp4", Recipe(seconds=0.4, sound=clicks([0.1], 0.4, 44_100)))
    place = tmp_path / "page"
    what = [str(clip), "--coders", "x264", "--rates", "96k", "--seconds", "0.2"]
    what += ["--skip", ",".join(SKIPPED), "--page", str(place)]
    assert main(what) == 0
    told = capsys.readouterr()
    assert "x264 96k (1/1)" in told.out and str(place / "index.html") in told.out
    assert "0% <b> x264 96000" in told.err
    page = (place / "index.html").read_text("utf-8")
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert len(list((place / "films").glob("*.webm"))) == 2
    monkeypatch.setattr(bench.Meter, "row", lambda *_: pytest.fail("it was measured already"))
    assert main(what) == 0 and capsys.readouterr().out == told.out
    assert main([*what[:-1], str(tmp_path)]) == 1
    assert "holds other things" in capsys.readouterr().err

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.Meter, "row", interrupted)
    keep = ["--keep", str(tmp_path / "kept")]
    assert main([*what[:-2], *keep]) == 130
    assert "the same command goes on" in capsys.readouterr().err
