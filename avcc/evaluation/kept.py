"""Measurements that are kept, so that a long run which was ended goes on where it stood.

One row is kept under the SHA-256 of all that it follows from: the clip's bytes and how much of it
was taken, the coder with its code, its settings and its weights, the rate, and the measures with
their code, their versions and their networks. Where any of these changes, the row is measured
anew; where none does, it isn't, whatever the clip is called and wherever it lies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from avcc import weights
from avcc.errors import ModelError
from avcc.evaluation import enhanced
from avcc.evaluation.bench import Row
from avcc.evaluation.digests import digest, digest_of, version
from avcc.evaluation.ours import WAYS
from avcc.media.safe import temporary

PACKAGE = Path(__file__).resolve().parent.parent
PROGRAMS = ("c2enc", "c2dec", "aomenc", "vvencapp")
# Of the codec's packages; the measures name theirs themselves.
_PACKAGES = ("av", "constriction", "numpy", "torch")
_OUTSIDE = {"training", "evaluation", "cli.py", "__main__.py", "terminal.py"}
PEERS = ("baselines", "commands", "enhanced", "peers", "split", "voices")
MEASURES = (
    *(
        "bench",
        "contours",
        "groups",
        "kernel",
        "landmarks",
        "lattice",
        "likeness",
        "memory",
        "ours",
        "perceptual",
        "picture",
        "sound",
    ),
    "sync",
)


class Kept:
    """A folder of rows, each a JSON file, with the features of pictures beside it (``.npz``)."""

    def __init__(self, folder: Path, measures: Iterable[str]) -> None:
        """``measures``: whatever tells these measures from others. Raises ``OSError``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        code = [PACKAGE / "evaluation" / f"{name}.py" for name in MEASURES]
        self._measures = digest(digest_of(*code), *measures)
        self._coders: dict[str, str] = {}

    def key(self, clip: str, coder: str, rate: float) -> str:
        """Of one row; ``clip`` is the digest of a clip."""
        if coder not in self._coders:
            self._coders[coder] = coder_identity(coder)
        return digest(clip, self._coders[coder], f"{rate:.17g}", self._measures)

    def row(self, key: str, name: str) -> Row | None:
        """The row as it was kept, for the clip that is called ``name`` now; ``None``: none is."""
        try:
            told = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
            row = replace(Row(**told), clip=name)
            if row.size and (self.folder / f"{key}.npz").exists():
                with np.load(self.folder / f"{key}.npz") as box:
                    row.features = box["source"], box["decoded"]
        except (OSError, ValueError, TypeError, KeyError):  # absent, or cut short by a full disk
            return None
        return row

    def keep(self, key: str, row: Row) -> None:
        """Write the row; features first, so that a row that is there is whole."""
        if row.features is not None:
            with temporary(self.folder / f"{key}.npz") as path, path.open("wb") as file:
                np.savez(file, source=row.features[0], decoded=row.features[1])
        with temporary(self.folder / f"{key}.json") as path:
            path.write_text(json.dumps(row.as_dict()) + "\n", encoding="utf-8")


def coder_identity(coder: str) -> str:
    """The code, versions and weights that a coder's output follows from, as one digest."""
    versions = [f"{name} {version(name)}" for name in _PACKAGES]
    libraries: dict[str, Any] = av.library_versions
    versions += [f"{name} {number}" for name, number in sorted(libraries.items())]
    files = sorted(p for p in PACKAGE.rglob("*.py") if p.relative_to(PACKAGE).parts[0] in _inside())
    if coder not in WAYS:
        files = [PACKAGE / "evaluation" / f"{name}.py" for name in PEERS]
        programs = [Path(found) for name in PROGRAMS if (found := shutil.which(name))]
        return digest(coder, digest_of(*files, *programs), *versions, enhanced.identity())
    try:
        model = digest_of(weights.folder() / weights.MANIFEST)  # it vouches for all the others
    except ModelError as error:
        model = str(error)
    return digest(coder, digest_of(*files), model, *versions)


def _inside() -> set[str]:
    return {p.name for p in PACKAGE.iterdir()} - _OUTSIDE
