"""``make data``: lists in their authors' formats, and clips cut by them out of made videos."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from avcc.errors import AvccError, MediaError
from avcc.evaluation import lists
from avcc.evaluation.bench import languages, manifest_paths, source_of
from avcc.evaluation.cuts import clip_of, square
from avcc.evaluation.data import file_name, main, paired
from avcc.evaluation.lists import Box, Part
from avcc.media.read import read
from avcc.stages import Crop
from tests.clips import Recipe, clicks, first_click, make, number_in

BOX = (70, 30, 180, 180)  # of the 320x240 scene: left, top, width, height; a square with the head


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 4 s, 30 Hz, a click at 2.5 s; its frames carry their numbers."""
    folder = tmp_path_factory.mktemp("videos")
    sound = clicks([2.5], 4, 44_100)
    make(folder / "RD_Radio1.mp4", Recipe(seconds=4, rate=30, sound=sound, video_start=0.5,
                                          sound_start=0.5))  # fmt: skip
    for name in ("dQw-+_x4", "a title [M2Ohb0FAaJU]", "talk"):
        os.link(folder / "RD_Radio1.mp4", folder / f"{name}.mp4")
    return folder


def hdtf(folder: Path) -> Path:
    folder.mkdir()
    (folder / "RD_annotion_time.txt").write_text(
        "Radio1.mp4 00:01-00:03 0:00:00-00:01 \nNone.mp4\n"
    )
    (folder / "RD_crop_wh.txt").write_text("Radio1_0.mp4 140 360 60 360\n")
    (folder / "RD_resolution.txt").write_text("Radio1.mp4 480\n")
    return folder


def vfhq(folder: Path) -> Path:
    folder.mkdir()
    meta = "CLIP x\nH 480\nWIDTH: 640\nFPS: 30.0\n\nCROP bbox: 140 60 500 420\n"
    (folder / "Clip+dQw-+_x4+P0+C3+F29-90.txt").write_text(meta)
    return folder


def celebv(path: Path) -> Path:
    width, height = 320, 240
    left, top, side, _ = BOX
    bbox = {"left": left / width + 0.02, "right": (left + side) / width - 0.02,
            "top": top / height + 0.02, "bottom": (top + side) / height - 0.02}  # fmt: skip
    span = {"start_sec": 1.0, "end_sec": 3.0}
    clip = {"ytb_id": "M2Ohb0FAaJU", "duration": span, "bbox": bbox, "attributes": {}}
    path.write_text(json.dumps({"meta_info": {}, "clips": {"M2Ohb0FAaJU_1": clip}}))
    return path


def own(path: Path) -> Path:
    heads = "file,start,end,left,top,width,height,name,language\n"
    path.write_text(f"{heads}talk.mp4,0:01,3.0,70,30,180,180,mine,German\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("make_list", "name", "start"),
    [
        (lambda at: hdtf(at / "HDTF"), "RD_Radio1_0", 1.0),
        (lambda at: vfhq(at / "meta_info"), "Clip+dQw-+_x4+P0+C3+F29-90", 1.0),
        (lambda at: celebv(at / "info.json"), "M2Ohb0FAaJU_1", 1.0),
        (lambda at: own(at / "list.csv"), "mine", 1.0),
    ],
)
def test_lists_of_each_format(make_list, name, start, tmp_path, videos) -> None:
    (part,) = lists.read(make_list(tmp_path))
    assert part.name == name and part.start == pytest.approx(start) and part.box is not None
    assert part.end == pytest.approx(3.0)
    ((same, path),), lost = paired([part], sorted(videos.iterdir()))
    assert same == part and not lost and path.is_file()
    crop = square(part.box, 320, 240)
    assert (crop.x, crop.y, crop.side) == pytest.approx((BOX[0], BOX[1], BOX[2]), abs=1)


def test_a_part_of_a_video_in_time_and_place(videos: Path) -> None:
    part = Part("x", ("talk",), 1.0, 3.0, Box(*BOX))
    clip = clip_of(videos / "talk.mp4", part)
    assert clip.count == 50 and clip.crop == Crop(70, 30, 180, 320, 240)
    shown = [number_in(frame, clip.crop) for frame in clip.frames]
    assert shown == [30 + int((k / 25 + 0.0015) * 30) for k in range(50)]
    assert shown == [number_in(frame, clip.crop) for frame in clip.frames], "as often as wanted"
    assert clip.audio is not None and len(clip.audio) == 50 * 640
    assert first_click(clip.audio) == pytest.approx(1.5, abs=0.002)
    assert clip_of(videos / "talk.mp4", part, 20).count == 20
    late = clip_of(videos / "talk.mp4", Part("x", (), 3.2, None, Box(*BOX)))
    assert late.count == 20 and number_in(next(iter(late.frames)), late.crop) == 96  # type: ignore[arg-type]
    whole = clip_of(videos / "talk.mp4", Part("x", ()))
    found = read(videos / "talk.mp4").crop
    assert whole.count == 100 and found is not None and whole.crop is not None
    assert abs(whole.crop.x - found.x) < 12 and abs(whole.crop.side - found.side) < 24


def test_parts_that_can_not_be_cut(videos: Path) -> None:
    talk = videos / "talk.mp4"
    for part, why in [
        (Part("x", (), 2.0, 1.0), "x ends before it begins"),
        (Part("x", (), float("nan"), 1.0), "before it begins"),
        (Part("x", (), 1.0, 9.0, Box(*BOX)), "talk.mp4 ends before x does"),
        (Part("x", (), 20.0, 30.0, Box(*BOX)), "talk.mp4 ends before x begins"),
        (Part("x", (), 1.0, 2.0, Box(900, 0, 90, 90)), "isn't in a 320x240 picture"),
        (Part("x", (), 1.0, 2.0, Box(0, 0, 0, 90)), "the box of 0 pixels"),
        (Part("x", (), 1.0, 2.0, Box(0, 0, float("inf"), 9)), "isn't made of numbers"),
    ]:
        with pytest.raises(MediaError, match=why):
            clip_of(talk, part)
    edge = clip_of(talk, Part("x", (), 1.0, 1.2, Box(-40, -20, 180, 180)))
    assert next(iter(edge.frames)).shape == (256, 256, 3), "beyond the picture its edge goes on"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("RD_annotion_time.txt", "Radio1.mp4 00:01-00:03\n", "can't be read: No such file"),
        ("Clip+x+P0.txt", "FPS: 30\n", "doesn't end in"),
        ("Clip+x+P0+C0+F1-9.txt", "FPS: 30\n", "isn't what vfhq lists are: 'CROP'"),
        ("info.json", "[1]", "isn't what celebv lists are"),
        ("info.json", '{"clips": {"a": {"bbox": 1}}}', "isn't what celebv lists are"),
        ("info.json", '{"clips": {}}', "names no clip"),
        ("info.json", "[" * 100_000, "isn't what celebv lists are"),
        ("list.csv", "start,end\n1,2\n", "isn't what csv lists are: 'file'"),
        ("list.csv", "file,start\na.mp4,soon\n", "could not convert"),
        ("list.csv", "file,left\na.mp4,3\n", "line 2 has only some"),
        ("list.csv", "file\n", "names no clip"),
    ],
)
def test_lists_that_are_wrong(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AvccError, match=why) as told:
        lists.read(tmp_path / name)
    assert "\n" not in str(told.value)


def test_names_of_files_stay_in_their_folder() -> None:
    taken: set[str] = set()
    names = [file_name(name, taken) for name in ("../../etc/x", "a b", "a b", "A_b", "..", "é/ü")]
    assert names == ["etc_x.mp4", "a_b.mp4", "a_b-2.mp4", "A_b-3.mp4", "clip.mp4", "é_ü.mp4"]


def test_the_command(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    rows = "file,start,end,left,top,width,height,language\n"
    rows += "talk.mp4,1,2,70,30,180,180,German\nnot here.mp4,1,2,,,,,\ntalk.mp4,1,9,,,,,\n"
    (tmp_path / "list.csv").write_text(rows)
    command = [str(videos), "--list", str(tmp_path / "list.csv"), "--out", str(out)]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "1 clips in" in told.out and "make report" in told.out
    assert "no video for 1 clips: not here_2" in told.err
    assert "talk_3: talk.mp4 ends before talk_3 does" in told.err
    (clip,) = manifest_paths(out / "manifest.csv", "val")
    assert clip == out / "talk_1.mp4" and languages(out / "manifest.csv") == {clip: "German"}
    with (out / "manifest.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["video"], row["start"], row["seconds"], row["side"]) == (
        "talk.mp4",
        "1",
        "1",
        "180",
    )
    source = source_of(clip, 10)
    assert source.frames.shape == (25, 256, 256, 3), "a report reads it"
    direct = clip_of(videos / "talk.mp4", Part("x", (), 1, 2, Box(*BOX)))
    away = np.abs(np.stack(list(direct.frames)).astype(int) - source.frames).mean()
    assert away < 3, "the crop that was cut is what the report sees"
    assert main(command) == 2 and "isn't empty" in capsys.readouterr().err
    assert main([*command, "-f"]) == 0
    assert main([str(tmp_path / "none"), "--list", str(tmp_path / "none.csv")]) == 1
    assert main([*command[:3], "--frames", "-1"]) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main([str(empty), "--out", str(tmp_path / "o")]) == 2
    assert "there are no videos" in capsys.readouterr().err
