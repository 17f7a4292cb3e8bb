"""Paired statements of ``avcc.evaluation``: differences, BD-rate, how many times the bits."""

from __future__ import annotations

import numpy as np
import pytest

from avcc.evaluation.bench import Row
from avcc.evaluation.paired import bd_rate, bits, compared, differences, others, ratio, rising
from avcc.evaluation.statements import tables
from avcc.evaluation.tables import text

RATES = (2.0, 4.0, 8.0, 16.0)


def points(scale: float, bend: float = 0.2) -> list[tuple[float, float]]:
    """A curve of quality over rate that needs ``scale`` times the bits of another."""
    return [(scale * rate, np.log(rate) + bend * np.log(rate) ** 2) for rate in RATES]


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_bits_for_the_same_quality(scale: float) -> None:
    assert bd_rate(points(scale), points(1.0)) == pytest.approx(scale - 1, abs=1e-9)
    assert ratio(points(1.0)[1], points(scale), 99) == (pytest.approx(scale), "")


def test_bits_where_curves_part() -> None:
    low, high = points(1.0)[:2], points(1.0)[2:]
    assert bd_rate(low, high) is None and bd_rate(low, high[:1]) is None
    assert bd_rate(points(2.0)[:3], points(1.0)[1:]) == pytest.approx(1, abs=0.1)
    assert ratio(high[1], low, 99) == (99 / 16, "more than")
    assert ratio(high[1], [], 99) == (99 / 16, "more than"), "it can't do it at all"
    assert ratio(low[0], high, 99) == (8 / 2, "less than")


def test_curves_that_fall_are_straightened() -> None:
    noisy = [(1.0, 3.0), (2.0, 2.9), (4.0, 3.5), (8.0, 3.5), (16.0, 4.0)]
    assert rising(noisy) == [(1.0, 3.0), (4.0, 3.5), (16.0, 4.0)]
    assert bd_rate(noisy, rising(noisy)) == pytest.approx(0)


def rows(clips: int = 8) -> list[Row]:
    """avcc with the other's LPIPS at half of its bits, clips that differ by far more, and
    a PESQ that is now better now worse; a third coder can do nothing at 2 and 4 kbps."""
    rng = np.random.default_rng(1)
    made = []
    for i in range(clips):
        ease, chance = rng.uniform(1, 5), rng.normal(0, 0.3)
        for rate in (2000.0, 4000.0, 8000.0):
            for coder, bits_wanted, pesq in (("avcc", 1.0, 1.5 + chance), ("x265", 2.0, 1.5)):
                lpips = ease * (4 - np.log(rate / bits_wanted / 1000))
                values = {"kbps": rate / 1000, "lpips": lpips, "pesq": pesq}
                made.append(Row(f"clip{i}", coder, rate, 4, 1000, values))
            vvc = Row(f"clip{i}", "vvenc", rate, 4, note="cannot go this low")
            made.append(vvc)
    return made


def test_differences_are_paired() -> None:
    found = {(d.metric, d.other, d.asked): d for d in differences(rows())}
    told = found["lpips", "x265", 2000]
    assert told.clips == 8 and told.mean == pytest.approx((told.low + told.high) / 2, rel=0.2)
    assert told.high < 0 and told.verdict == "avcc", "though clips differ more than coders do"
    assert found["pesq", "x265", 2000].verdict == "open"
    assert not any(other == "vvenc" for _, other, _ in found)
    assert others([row for row in rows() if row.coder != "avcc"]) == []
    few = [d for d in differences(rows(5)) if d.metric == "lpips"]
    assert {d.verdict for d in few} == {"open"} and all(d.high < 0 for d in few)
    one = differences(rows(1))
    assert {d.verdict for d in one} == {"open"} and all(d.low == d.high for d in one)
    worse = [Row(r.clip, {"avcc": "x265", "x265": "avcc"}.get(r.coder, r.coder), r.asked, 4, r.size,
                 r.values) for r in rows()]  # fmt: skip
    assert {d.verdict for d in differences(worse) if d.metric == "lpips"} == {"x265"}


def test_bits_over_clips() -> None:
    found = {(b.metric, b.other): b for b in bits(rows())}
    told = found["lpips", "x265"]
    assert told.bd_rate is not None and told.bd_rate == pytest.approx((-50, -50, -50))
    assert (told.clips, told.overlapping, told.sign) == (8, 8, "")
    assert told.times == pytest.approx(2) and told.asked == 2000
    vvc = found["lpips", "vvenc"]
    assert vvc.bd_rate is None and (vvc.times, vvc.sign) == (4, "more than")
    assert found["pesq", "x265"].bd_rate is None, "a flat curve has no bits for a quality"
    assert ("wer", "x265") not in found
    assert {"lpips", "pesq", "mouth_corr"} < set(compared())
    assert {"kbps", "flicker", "encode_x"}.isdisjoint(compared())


def test_statements_for_a_person() -> None:
    away, same = tables(rows())
    assert away.heads == ["measure", "x265, 2 kbps", "x265, 4 kbps", "x265, 8 kbps"]
    told = {line[0]: line[1:] for line in away.lines}
    assert all(cell.endswith(") avcc") for cell in told["LPIPS (squeeze)"])
    assert all(cell.endswith(") open") for cell in told["PESQ-WB"])
    told = {line[0]: line[1:] for line in same.lines}
    assert same.heads[1:] == ["x265, BD-rate", "x265, times", "vvenc, BD-rate", "vvenc, times"]
    assert told["LPIPS (squeeze)"] == [
        "-50 % (-50 to -50), 8 of 8", "2.0", "no overlap", "more than 4.0"
    ]  # fmt: skip
    assert {len(line) for line in same.lines} == {5}
    lines = text(same).splitlines()
    assert lines[0].startswith("Bits for the same quality. BD-rate") and "2 kbps" in lines[0]
    assert lines[2].startswith("LPIPS (squeeze)") and "-50 %" in lines[2]
    assert tables([row for row in rows() if row.coder == "x265"]) == tables([]) == []
