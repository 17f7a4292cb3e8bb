"""What each part of a voice is worth: training without some, and the comparison."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rehearsal import options

from avcc.media.write import write
from avcc.stages import SILENT, UNSENT, Clip
from avcc.training.acoustic import AcousticStage, wordless
from avcc.training.alone import Variant, compare
from avcc.training.export import save_weights
from tests.voices import vowels

torch.set_num_threads(1)


def trained(cache: Path, work: Path, folder: Path, *without: str) -> Path:
    """A work folder in which those parts were left out."""
    shutil.copytree(work, folder)
    stage = AcousticStage(replace(options(cache, folder), without=without))
    assert np.isfinite(stage.step(0)["mel"])
    save_weights(folder / "acoustic.safetensors", stage.export(stage.nets), {})
    return folder


def test_what_is_left_out_changes_nothing(cache: Path, work: Path, tmp_path: Path) -> None:
    """Of a part that isn't sent the error must know nothing."""
    stages = {
        part: AcousticStage(replace(options(cache, work), without=(part,) if part else ()))
        for part in ("", "semantic", "acoustic", "voice")
    }
    wave, token = (x[:2] for x in stages[""].held)
    layers, other = torch.tensor([2, 2]), torch.where(token == SILENT, SILENT, (token + 1) % 1000)
    for part, stage in stages.items():
        stage.nets.eval()

        def error(token: torch.Tensor, layers: torch.Tensor, of: AcousticStage = stage) -> list:
            with torch.no_grad():
                return of._error(of.nets, wave, token, layers)[0].tolist()

        plain = error(token, layers)
        assert (error(other, layers) == plain) == (part == "semantic")
        assert (error(token, 0 * layers) == plain) == (part == "acoustic")
        with torch.no_grad():
            for net in (stage.nets["voice"],):
                for p in net.parameters():
                    p.copy_(torch.randn_like(p) + 1)
        assert (error(token, layers) == plain) == (part == "voice")
    assert wordless(torch.tensor([3, SILENT, UNSENT])).tolist() == [UNSENT, SILENT, UNSENT]


@pytest.mark.filterwarnings("ignore")
def test_the_comparison(cache: Path, work: Path, tmp_path: Path) -> None:
    wave = vowels(1.6, pause=(0.5, 0.8))
    pictures = np.zeros((40, 64, 64, 3), np.uint8)
    write(tmp_path / "one.wav", Clip(pictures, 40, wave))
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["file", "split", "speaker"])
        lines.writerow(["one.wav", "test", "she"])
    both = trained(cache, work, tmp_path / "both")
    alone = trained(cache, work, tmp_path / "alone", "semantic", "voice")
    table = compare(cache, tmp_path / "list.csv", [both, alone], 1, 0)
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert [row[0] for row in found] == ["semantic, acoustic, voice"] * 6 + ["acoustic"] * 5
    bits = [float(row[2]) for row in found]
    assert bits[:6] == sorted(bits[:6]) and bits[6:] == sorted(bits[6:])
    assert bits[6] < bits[1], "one token for all that sounds costs next to nothing"
    variant = Variant(cache, alone, 0)
    heard = variant.ear(wave, 40)
    codes = variant.codes(heard)
    assert set(np.unique(codes.semantic)) == {0, SILENT}
    assert variant.mel(codes, 2).shape == (80, 80)
