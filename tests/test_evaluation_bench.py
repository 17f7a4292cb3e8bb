"""The peers and floors of ``avcc.evaluation``, its bench over clips, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import avcc
from avcc.errors import AvccError, RateError
from avcc.evaluation import baselines, bench, peers
from avcc.evaluation.__main__ import main
from avcc.evaluation.baselines import Stills, frame_obus, spline, warps
from avcc.evaluation.bench import Meter, Row, Source
from avcc.evaluation.picture import psnr
from avcc.evaluation.report import interval, summary, table, write_json
from avcc.evaluation.sound import Reference
from avcc.stages import Clip
from tests.clips import Recipe, clicks, make, picture

SKIPPED = ("pesq", "stoi", "visqol", "dnsmos", "plcmos", "speaker", "wer", "memory")
WEIGHTS = Path(bench.__file__).parents[2] / "weights"
needs_av1 = pytest.mark.skipif(
    bool(peers.absence("svtav1")), reason=peers.absence("svtav1") or "it is there"
)


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    """uint8 (5, 128, 128, 3): a head that moves right."""
    moves = (lambda t: (0.2 * t, 0.5, 1.1),)
    return np.stack([picture(0, i / 25, (128, 128), moves) for i in range(5)])


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    """float32, 0.6 s at 16 kHz: three bursts of noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, 9600)
    beats = np.repeat([0, 1, 0.1, 0.7, 0, 0.4], 1600)
    return (noise * np.convolve(beats, np.ones(160) / 160, "same")).astype(np.float32)


def test_a_spline_goes_through_its_points_and_keeps_straight_lines() -> None:
    rng = np.random.default_rng(4)
    points, places = rng.uniform(0, 255, (40, 2)), rng.uniform(0, 255, (200, 2))
    turn = np.array([[0.9, 0.2], [-0.3, 1.1]])
    straight = spline(points, points @ turn + 5, places)
    assert straight == pytest.approx(places @ turn + 5, abs=1e-6)
    values = points + rng.normal(0, 4, points.shape)
    assert np.abs(spline(points, values, points) - values).mean() < 0.1
    double = np.concatenate([points, points[:3] + 1e-3])
    near = spline(double, np.concatenate([values, values[:3]]), places)
    assert np.isfinite(near).all() and np.abs(near - places).max() < 60


def test_a_key_frame_that_is_warped(small: np.ndarray) -> None:
    key = small[0]
    mesh = np.random.default_rng(5).uniform(40, 88, (1, 478, 2)).repeat(4, 0)
    mesh[1] += (4, 0)
    mesh[2] = np.nan
    same, moved, missing, again = warps(key, mesh).astype(int)
    assert np.abs(same - key).max() <= 1 and np.abs(again - key).max() <= 1
    inner = np.s_[60:70, 60:70]
    shifted = key[60:70, 56:66].astype(int)
    assert np.abs(moved[inner] - shifted).mean() < np.abs(key[inner] - shifted).mean() / 2
    assert np.abs(moved[0] - key[0]).max() <= 1, "the border is pinned"
    assert np.array_equal(missing, moved)
    assert np.array_equal(warps(key, np.full((2, 478, 2), np.nan)), np.stack([key, key]))


def test_what_a_still_needs_of_its_obus() -> None:
    def obu(kind: int, body: bytes, size: bytes) -> bytes:
        return bytes([kind << 3 | 2]) + size + body

    delimiter, sequence = obu(2, b"", b"\0"), obu(1, b"seq", b"\3")
    metadata, frame = obu(5, b"meta", b"\4"), obu(6, b"f" * 300, b"\xac\2")
    header, tiles = obu(3, b"head", b"\4"), obu(4, b"tile", b"\4")
    assert frame_obus(delimiter + sequence + metadata + frame) == frame
    assert frame_obus(delimiter + header + tiles) == header + tiles
    assert frame_obus(b"") == b""


@needs_av1
def test_a_still_within_its_bytes(small: np.ndarray) -> None:
    face = small[0, 32:96, 32:96]
    stills = Stills(face, lambda key: np.repeat(key[None], 3, 0))
    (coarse,), (fine,) = (list(stills.within(most)) for most in (200, 800))
    assert 0 < coarse.size <= 200 < fine.size <= 800
    assert coarse.frames.shape == (3, *face.shape) and coarse.frames.dtype == np.uint8
    likeness = [psnr(face[None], found.frames[:1]) for found in (coarse, fine)]
    assert 20 < likeness[0] < likeness[1] - 2
    assert "-crf" in fine.setting and fine.setting != coarse.setting
    assert list(stills.within(20)) == []


@needs_av1
def test_the_floors(small: np.ndarray) -> None:
    small = small[:, 32:96, 32:96]
    (frozen,) = baselines.frozen(small).within(800)
    assert (frozen.frames == frozen.frames[0]).all() and frozen.frames.shape == small.shape
    mesh = np.random.default_rng(6).uniform(10, 54, (1, 478, 2)).repeat(len(small), 0)
    mesh[2] += (6, 0)
    (warped,) = baselines.warped(small, mesh).within(800)
    assert warped.size <= 800 and warped.frames.shape == small.shape
    assert (warped.frames[2] != warped.frames[1]).any()
    nowhere = np.full_like(mesh, np.nan)
    (still,) = baselines.warped(small, nowhere).within(800)
    assert (still.frames == still.frames[0]).all()


def test_the_still_is_the_frame_in_the_middle() -> None:
    frames = np.repeat(np.array([0, 90, 100, 110, 255], np.uint8), 64 * 64 * 3)
    assert baselines.middle(frames.reshape(5, 64, 64, 3)) == 3
    assert baselines.middle(np.zeros((1, 8, 8, 3), np.uint8)) == 0


def test_clips_that_are_named_and_found(tmp_path: Path) -> None:
    for name in ("b/2.MP4", "b/1.webm", "a/3.mkv", "a/words.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list(bench.clip_paths([tmp_path, Path("odd.name")]))
    assert found == [tmp_path / n for n in ("a/3.mkv", "b/1.webm", "b/2.MP4")] + [Path("odd.name")]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("name,split\na,val\n", encoding="utf-8")
    with pytest.raises(AvccError, match="no column 'file'"):
        bench.manifest_paths(manifest, "val")
    with pytest.raises(AvccError, match="can't be read"):
        bench.manifest_paths(tmp_path / "none.csv", "val")
    manifest.write_text("file,split\na/3.mkv,val\nb/1.webm,train\nb/2.MP4,val\n")
    assert bench.manifest_paths(manifest, "val") == [tmp_path / "a/3.mkv", tmp_path / "b/2.MP4"]
    assert bench.languages(manifest) == {}
    manifest.write_text("file,language\na/3.mkv, German\nb/1.webm,\n,French\nb/2.MP4,a\x1b[2J\n")
    spoken = {"a/3.mkv": "German", "b/2.MP4": "a\N{REPLACEMENT CHARACTER}[2J"}
    assert bench.languages(manifest) == {tmp_path / k: v for k, v in spoken.items()}
    with pytest.raises(AvccError, match="can't be read"):
        bench.languages(tmp_path / "none.csv")


def test_clips_are_spread_evenly() -> None:
    paths = [Path(str(i)) for i in range(11)]
    for limit in (0, 11, 12):
        assert bench.spread(paths, limit) == paths
    assert bench.spread(paths, 3) == [paths[0], paths[5], paths[10]]
    assert bench.spread(paths, 1) == paths[:1]
    for limit in range(1, 11):
        assert len(set(bench.spread(paths, limit))) == limit


@pytest.fixture
def source(small: np.ndarray) -> Source:
    mesh = np.random.default_rng(6).uniform(40, 88, (1, 478, 2)).repeat(len(small), 0)
    sound = np.zeros(5 * 640, np.float32)
    made = Source("talk", Clip(small, 5, sound), small, Reference(sound))
    made.__dict__["mesh"] = mesh.astype(np.float32)
    return made


def test_a_row_of_the_public_codec(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, str]] = []

    def encode(clip: Clip, bitrate: float, mode: str) -> bytes:
        asked.append((bitrate, mode))
        if bitrate < 1000:
            raise RateError("between 1 and 9 kbps")
        return bytes(50)

    monkeypatch.setattr(avcc, "encode", encode)
    monkeypatch.setattr(avcc, "decode", lambda data: Clip(source.frames[:4], 4, None))
    meter = Meter(None, SKIPPED, 1)
    row = meter.row(source, "avcc", 2000)
    assert (row.clip, row.coder, row.asked, row.size, row.seconds) == (
        "talk",
        "avcc",
        2000,
        50,
        0.2,
    )
    assert row.values["kbps"] == 2 and row.values["frames_short"] == 1
    assert row.values["psnr"] == 100 and row.values["encode_x"] >= 0
    assert row.values["model_bytes"] > sum(p.stat().st_size for p in WEIGHTS.glob("vocoder*"))
    row = meter.row(source, "audio-driven", 500)
    assert (row.size, row.values, row.note) == (0, {}, "RateError: between 1 and 9 kbps")
    assert asked == [(2000, "auto"), (500, "audio-driven")]
    assert "no coder is called 'mpeg1'" in meter.row(source, "mpeg1", 500).note
    assert meter.row(source, "x264", 100).note == "cannot go this low"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and "there are no clips" in capsys.readouterr().err
    assert main(["talk.mp4", "--coders", "mpeg1"]) == 2
    assert "no coder is called mpeg1" in capsys.readouterr().err
    make(tmp_path / "talk.mp4", Recipe(seconds=0.4, sound=clicks([0.1], 0.4, 44_100)))
    out = tmp_path / "out.json"
    (tmp_path / "manifest.csv").write_text("file,language\ntalk.mp4,Dutch\n")
    what = [str(tmp_path), str(tmp_path / "missing.mp4"), "--coders", "x264", "--rates", "96k,100"]
    more = ["--seconds", "0.2", "--skip", ",".join(SKIPPED), "--json", str(out)]
    assert main([*what, *more]) == 0
    told = capsys.readouterr().out
    assert "x264 96k (1/1)" in told and "PSNR" in told and "doesn't exist" in told
    found = json.loads(out.read_text())
    assert [row["note"][:7] for row in found["rows"]] == ["picture", "cannot "]
    row = found["rows"][0]
    assert row["language"] == "Dutch"
    assert row["setting"].startswith("-c:v libx264") and "; " in row["setting"]
    assert row["seconds"] == 0.2 and 0 < 8 * row["size"] <= 96_000 * 0.2
    assert row["values"]["psnr"] > 25 and row["values"].get("landmark", 0) < 10
    assert "encode_mib" not in row["values"] and row["values"]["model_bytes"] == 0
    assert main([str(tmp_path / "missing.mp4")]) == 1


def rows() -> list[Row]:
    """Two coders over three clips of 10 s; one clip is beyond the second coder."""
    made = []
    for coder, size in (("avcc", 2500), ("x264", 2600)):
        for i in range(3):
            values = {"kbps": 8 * size / 10_000, "psnr": 20.0 + i}
            made.append(Row(f"clip{i}", coder, 2000, 10, size, values))
    made[-1] = Row("clip2", "x264", 2000, 10, note="cannot go this low")
    return made


def test_means_and_their_intervals() -> None:
    values = np.random.default_rng(0).normal(5, 1, 50).tolist()
    mean, low, high = interval(values)
    assert mean == pytest.approx(np.mean(values)) and low < mean < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(50), rel=0.3)
    assert interval(values) == (mean, low, high), "the same each time"
    assert interval([3.0]) == (3, 3, 3) and interval([2.0, 2.0]) == (2, 2, 2)


def test_a_summary_of_rows() -> None:
    ours, theirs = summary(rows())
    assert (ours["coder"], ours["clips"], ours["of"], ours["over"]) == ("avcc", 3, 3, 0)
    assert (theirs["coder"], theirs["clips"], theirs["of"], theirs["over"]) == ("x264", 2, 3, 2)
    assert ours["metrics"]["psnr"]["mean"] == 21 and ours["metrics"]["psnr"]["clips"] == 3
    assert theirs["metrics"]["psnr"]["mean"] == 20.5 and "lpips" not in theirs["metrics"]
    assert summary([]) == []


def test_a_table_for_a_person() -> None:
    lines = table(rows()).splitlines()
    assert "avcc 2k (3/3)" in lines[0] and "x264 2k (2/3)" in lines[0]
    assert any(line.startswith("PSNR, dB (high)") and "21.00 [20" in line for line in lines)
    assert lines[-1].startswith("CLIPS OVER THE RATE") and lines[-1].endswith(" 2")
    assert "LPIPS" not in table(rows()), "what wasn't measured isn't there"
    assert len(table(rows(), columns=1).split("\n\n")) == 2
    assert "CLIPS OVER" not in table(rows()[:3])


def test_a_report_for_programs(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    write_json(path, rows(), ["pesq absent"])
    found = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert [row["clip"] for row in found["rows"]] == ["clip0", "clip1", "clip2"] * 2
    assert found["notes"] == ["pesq absent"] and len(found["summary"]) == 2
    assert found["versions"]["numpy"] == np.__version__
    with pytest.raises(TypeError):
        write_json(path, rows(), [object()])  # type: ignore[list-item]
    assert json.loads(path.read_text()) == found
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
