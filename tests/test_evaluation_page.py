"""The page of ``avcc.evaluation`` as text, the tables beside it, and the folder of them."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from avcc.errors import AvccError
from avcc.evaluation import curves, folder
from avcc.evaluation.bench import Row, clip_paths
from avcc.evaluation.films import Films
from avcc.evaluation.page import Told, html, write_page
from avcc.evaluation.run import Outcome

HOSTILE = "=x\"'<script>alert(1)</script>&</title>\N{REPLACEMENT CHARACTER}"
VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """Elements with their attributes and texts; unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def within(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def outcome(name: str = "talk") -> Outcome:
    """Two coders over two clips, of which the second coder can't do the second."""
    made = Outcome(notes=[f"{name}: no face"], sources={name: "s0.webm", "other": "s1.webm"})
    for i, clip in enumerate(made.sources):
        for coder, loss in (("avcc", 0.1), ("x265", 0.2)):
            values = {"kbps": 2.0, "lpips": loss + 0.02 * i, "pesq": 1.5}
            film = f"{coder}{i}.webm"
            made.rows.append(Row(clip, coder, 2000, 4, 1000, values, setting=name, film=film))
    made.rows[-1] = Row("other", "x265", 2000, 4, note="cannot go this low")
    return made


def text_of(name: str = "talk") -> str:
    return html(outcome(name), Told("Report", f"python {name}", [("avcc", name)]))


def test_what_the_page_shows() -> None:
    page = Reader(text_of())
    assert page.within("title")[0] == "Report" and page.within("h1") == ["Report"]
    assert page.of("html")[0] == {"lang": "en"}
    pictures = [a["aria-label"] for a in page.of("svg") if a.get("role") == "img"]
    assert "LPIPS (squeeze) against the rate" in pictures
    assert not any("WER" in (label or "") for label in pictures), "it wasn't measured"
    assert "talk: no face" in page.within("li")
    cells = page.within("td")
    assert "0.1100" in cells and "cannot go this low" in cells and "0.2000" in cells
    assert "0.1000 to 0.1200" in page.within("small")
    assert "-0.1000 (one clip)" in cells, "x265 did one of the two"
    links = {a["href"] for a in page.of("a") if not (a["href"] or "").startswith("#")}
    films = {f"films/{name}.webm" for name in ("avcc0", "avcc1", "x2650")}
    assert links == films | {"means.csv", "rows.csv", "report.json"}
    inner = {a["href"] for a in page.of("a")} - links
    names = {f"#{attributes['id']}" for _, attributes in page.found if "id" in attributes}
    assert inner <= names, "every link within the page leads somewhere"
    labelled = [a for t, a in page.found if t == "section" and a["aria-labelledby"]]
    assert len(labelled) == len(page.of("section")) == 7, "no strips without films, no groups"


def test_strips_and_kinds_of_clips(tmp_path: Path) -> None:
    films = Films(tmp_path / folder.FILMS)
    made = outcome(HOSTILE)
    frames = np.zeros((2, 256, 256, 3), np.uint8)
    shown = films.keep("x", frames, None, synthetic=False)
    made.sources[HOSTILE] = made.rows[0].film = made.rows[1].film = shown
    for row in made.rows:
        row.language, row.traits = HOSTILE, {"turn": 3.0}
    page = Reader(html(made, Told("Report", ""), tmp_path))
    assert len(page.of("section")) == 9
    assert page.within("summary") == [HOSTILE], "the other clip has no film"
    pictures = page.of("img")
    assert [picture["alt"] for picture in pictures] == [
        "five frames of the source",
        "the same frames by avcc, 2.00 kbps, LPIPS 0.1000, PESQ 1.500",
        "the same frames by x265, 2.00 kbps, LPIPS 0.2000, PESQ 1.500",
    ]
    assert all((p["src"] or "").startswith("data:image/jpeg;base64,/9j/") for p in pictures)
    assert {(p["width"], p["height"]) for p in pictures} == {("640", "128")}
    assert page.within("th").count("under 5") == 2 and page.within("th").count(HOSTILE) >= 2
    assert "Head turned, degrees" in page.within("h3") and "Language" in page.within("h3")
    inner = {a["href"] for a in page.of("a") if (a["href"] or "").startswith("#")}
    assert {"#strips", "#groups"} < inner


def test_what_the_players_know() -> None:
    told = next(text for tag, text in Reader(text_of()).texts if text.startswith('{"clips"'))
    clips = json.loads(told)["clips"]
    assert [clip["name"] for clip in clips] == ["talk", "other"]
    assert [(v["coder"], v["asked"], v["film"]) for v in clips[0]["versions"]] == [
        ("source", None, "films/s0.webm"),
        ("avcc", 2.0, "films/avcc0.webm"),
        ("x265", 2.0, "films/x2650.webm"),
    ]
    assert [v["coder"] for v in clips[1]["versions"]] == ["source", "avcc"]
    assert clips[0]["versions"][1]["figures"] == "2.00 kbps, LPIPS 0.1000, PESQ 1.500"


def test_names_are_shown_and_never_obeyed() -> None:
    plain, hostile = Reader(text_of()), Reader(text_of(HOSTILE))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in plain.found]
    assert hostile.within("pre") == [f"python {HOSTILE}"]
    assert HOSTILE in hostile.within("th") and HOSTILE in hostile.within("dd")
    scripts = [text for tag, text in hostile.texts if tag == "script"]
    assert json.loads(scripts[0])["clips"][0]["name"] == HOSTILE
    assert scripts[1:] == [text for tag, text in plain.texts if tag == "script"][1:]


def test_the_page_allows_its_own_scripts_alone() -> None:
    text = text_of()
    policy = next(a["content"] for a in Reader(text).of("meta") if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")
    inline = re.findall(r"<(style|script)>(.*?)</\1>", text, re.S)
    assert [kind for kind, _ in inline] == ["style", "script", "script"]
    for _, body in inline:
        wanted = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{wanted}'" in policy
    assert "http://" not in text and "https://" not in text and "//cdn" not in text


def test_tables_beside_the_page(tmp_path: Path) -> None:
    write_page(folder.claimed(tmp_path / "page"), outcome(HOSTILE), Told("Report", ""))
    place = tmp_path / "page"
    made = {path.name for path in place.iterdir()}
    assert made == {"README.txt", "index.html", "means.csv", "rows.csv", "report.json"}
    with (place / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["clip"] == f"'{HOSTILE}", "no formula for a spreadsheet"
    assert (rows[0]["coder"], rows[0]["lpips"], rows[0]["wer"]) == ("avcc", "0.1", "")
    assert (rows[3]["bytes"], rows[3]["note"]) == ("0", "cannot go this low")
    with (place / "means.csv").open(newline="", encoding="utf-8") as file:
        means = {(m["coder"], m["metric"]): m for m in csv.DictReader(file)}
    assert float(means["avcc", "lpips"]["mean"]) == pytest.approx(0.11)
    assert (means["x265", "lpips"]["clips"], means["x265", "lpips"]["of"]) == ("1", "2")
    told = json.loads((place / "report.json").read_text("utf-8"))
    assert [row["clip"] for row in told["rows"]] == [HOSTILE, HOSTILE, "other", "other"]


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(AvccError, match="holds other things"):
        folder.claimed(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]
    file = tmp_path / "index.html"
    with pytest.raises(AvccError, match="can't be a page's folder"):
        folder.claimed(file)
    place = folder.claimed(tmp_path / "new" / "page")
    (place / "index.html").write_text("a page")
    assert folder.claimed(place) == place, "its own is used again"


def test_films_of_a_page_are_no_clips(tmp_path: Path) -> None:
    place = folder.claimed(tmp_path / "page")
    for path in (tmp_path / "talk.mp4", place / folder.FILMS / "x.webm"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.mp4").mkdir()
    assert list(clip_paths([tmp_path])) == [tmp_path / "talk.mp4"]


def test_a_curve() -> None:
    points = [curves.Point(4, 0.1, 0.08, 0.12, False), curves.Point(2, 0.2, 0.2, 0.2)]
    drawn = curves.svg("A < B", {"avcc": points}, ["x265", "avcc"])
    tree = ET.fromstring(drawn)
    assert tree.get("aria-label") == "A < B against the rate"
    (line,) = tree.findall(".//polyline")
    places = [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
    (x0, y0), (x1, y1) = places
    assert x0 < x1 and y0 < y1, "by rate, and less is lower (SVG counts downwards)"
    titles = [title.text for title in tree.findall(".//title")]
    assert titles == ["avcc: 0.2 at 2 kbps", "avcc: 0.1 at 4 kbps (95 %: 0.08 to 0.12)"]
    assert len(tree.findall(".//path[@class='whisker']")) == 1
    assert [m.get("class") for m in tree.findall(".//polygon")] == ["mark", "mark hollow"]
    assert tree.find(".//g[@class='c1']") is not None, "the place among the page's coders"
    ticks = [text.text for text in tree.findall(".//text")]
    assert {"2", "3", "4"} <= set(ticks)


@pytest.mark.parametrize("values", [(0.5,), (-3.0, 4.0), (1e-4, 2e-4), (0.0, 0.0), (40.0, 70.0)])
def test_curves_stay_on_the_paper(values: tuple[float, ...]) -> None:
    points = [curves.Point(2.0 * 4**i, v, v, v) for i, v in enumerate(values)]
    tree = ET.fromstring(curves.svg("x", {"a": points}, ["a"]))
    for mark in tree.findall(".//circle"):
        assert curves.LEFT <= float(mark.get("cx", "")) <= curves.WIDTH - curves.RIGHT
        assert curves.TOP <= float(mark.get("cy", "")) <= curves.HEIGHT - curves.BOTTOM
    ticks = [t for t in tree.findall(".//text") if t.get("text-anchor") == "end"]
    assert 2 <= len(ticks) <= 8
    with pytest.raises(ValueError, match="nothing to draw"):
        curves.svg("x", {"a": []}, ["a"])
