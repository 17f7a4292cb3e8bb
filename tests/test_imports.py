"""Who may know whom: the rules of docs/design.md, read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "avcc"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]
STAGES = {"media", "analysis", "quantise", "entropy", "container", "diffusion", "render"}
# Vocabulary that several stages speak: no journey leads through these modules.
SHARED = {"avcc.entropy.tables", "avcc.entropy.forecast", "avcc.media.mesh", "avcc.analysis.mel"}
# The journeys, and their ends: files, the command line, the public names, what tells where bits
# went, what looks whether all of it works, what writes networks for other runtimes, and what an
# encoder tries before it decides.
MAY_KNOW_STAGES = {
    *(
        "codec.py",
        "fitting.py",
        "aim.py",
        "detail.py",
        "portrait.py",
        "prices.py",
        "trial.py",
        "encoder.py",
        "decoder.py",
        "files.py",
        "cli.py",
        "__init__.py",
    ),
    *("container/describe.py", "doctor.py", "export.py"),
}
MOST_LINES = 300
LIGHT = {"avcc", "click", "av", "numpy"} | set(sys.stdlib_module_names)


def imported(path: Path, *, top: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports; ``top``: only those that loading it needs."""
    package = ["avcc", *path.relative_to(PACKAGE).parent.parts]
    for node in _statements(ast.parse(path.read_text("utf-8")), top):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{a.name}" for a in node.names if _is_module(f"{base}.{a.name}"))


def _statements(node: ast.AST, top: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if top and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if top and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _statements(child, top)


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def roots(path: Path, *, top: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imported(path, top=top)}


def room(path: Path) -> str:
    """The package under ``avcc`` that a file lies in, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0]


def test_there_is_something_to_read() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_bytes_and_symbols_need_no_torch(path: Path) -> None:
    if room(path) in {"container", "entropy", "stages.py", "errors.py", "weights.py"}:
        assert roots(path, top=True).isdisjoint({"torch", "torchaudio", "einops"})
    if room(path) in {"container", "entropy", "stages.py", "errors.py"}:
        assert roots(path).isdisjoint({"torch", "torchaudio", "einops"})


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_one_file_knows_the_entropy_coder(path: Path) -> None:
    if path != PACKAGE / "entropy" / "payload.py":
        assert "constriction" not in roots(path)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_codec_knows_no_training_and_no_evaluation(path: Path) -> None:
    if room(path) not in {"training", "evaluation"}:
        known = {name for name in imported(path) if name.startswith("avcc.")}
        assert not {n for n in known if n.split(".")[1] in {"training", "evaluation"}}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_one_file_knows_more_than_one_stage(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    if room(path) in {"training", "evaluation", "live"} or name in MAY_KNOW_STAGES:
        return
    known = {n for n in imported(path) if n.startswith("avcc.") and n not in SHARED}
    known = {n.split(".")[1] for n in known if n not in {m.rpartition(".")[0] for m in SHARED}}
    stages = (known | {room(path)}) & STAGES
    assert len(stages) <= 1, f"{name} knows {', '.join(sorted(stages))}"


@pytest.mark.parametrize(
    "name",
    ["cli.py", "__main__.py", "__init__.py", "terminal.py", "batch.py", "pool.py", "files.py"],
)
def test_starting_is_light(name: str) -> None:
    assert roots(PACKAGE / name, top=True) <= LIGHT


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("how", ["info", "help", "import"])
def test_light_commands_load_nothing_heavy(how: str, tmp_path: Path) -> None:
    """Checked in the process itself: what a test vector's ``info`` has loaded when it's done."""
    vectors = sorted((ROOT / "tests" / "vectors").glob("*.avc"))
    path = vectors[0] if vectors else tmp_path / "broken.avc"
    if not vectors:
        path.write_bytes(b"no stream")
    code = {
        "info": f"from avcc.cli import main; main(['info', '--json', {str(path)!r}])",
        "help": "from avcc.cli import main; main(['--help'])",
        "import": "import avcc",
    }[how]
    heavy = "{'torch', 'torchaudio', 'mediapipe', 'cv2', 'scipy', 'av'}"
    ask = f"import sys; {code}; print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == ""
