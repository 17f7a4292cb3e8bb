"""Killed, interrupted, terminated, or out of disk: no half file under the final name, and a code.

The commands run as programs, with a codec that takes its time instead of the networks: what is
looked at is the files.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avcc.cli import FAILED, INTERRUPTED, OK, TERMINATED
from avcc.media.read import read

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")
ROOT = Path(__file__).parent.parent
VECTOR = ROOT / "tests" / "vectors" / "4a33bd00-least.avc"
SLOW = """
import sys, time, types
import numpy as np
from avcc.stages import Clip

pause = float(sys.argv.pop(1))

class Frames:
    def __iter__(self):
        for n in range(20):
            print("picture", n, file=sys.stderr, flush=True)
            time.sleep(pause if n == 15 else 0)
            picture = np.full((256, 256, 3), 9 * n, np.uint8)
            picture[:64] = np.random.default_rng(n).integers(0, 256, (64, 256, 3))
            yield picture

class Codec:
    def __init__(self, device="auto"):
        pass
    def encode(self, clip, bitrate, **options):
        print("picture 15", file=sys.stderr, flush=True)
        time.sleep(pause)
        return b"coded" * 2000
    def decode(self, data, **options):
        return Clip(Frames(), 20, np.zeros(20 * 640, np.float32))

def read(source, **options):
    return Clip((), 20, None)

for name, part in {"codec": Codec, "media.read": read}.items():
    module = types.ModuleType("avcc." + name)
    setattr(module, part.__name__, part)
    sys.modules["avcc." + name] = module

from avcc.cli import main
sys.exit(main())
"""


@contextmanager
def started(folder: Path, *line: str, pause: float = 600) -> Iterator[subprocess.Popen[bytes]]:
    """The command, until it is in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(pause), *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a job in the background of a shell would inherit that SIGINT is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    try:
        while b"picture 15" not in process.stderr.readline():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


LINES = {
    "encode": ("encode", str(VECTOR), "-o", "out.avc"),
    "decode": ("decode", str(VECTOR), "-o", "out.mp4"),
}


@pytest.mark.parametrize("command", LINES)
@pytest.mark.parametrize(
    ("sign", "code"),
    [("SIGKILL", -9), ("SIGINT", INTERRUPTED), ("SIGTERM", TERMINATED)],
)
def test_signals_leave_no_half_file(tmp_path: Path, command: str, sign: str, code: int) -> None:
    line = LINES[command]
    there = tmp_path / line[-1]
    there.write_bytes(b"from before")
    with started(tmp_path, *line, "-f") as process:
        time.sleep(0.05)  # into the pause
        assert there.read_bytes() == b"from before"
        process.send_signal(getattr(signal, sign))
        said = process.communicate(timeout=300)[1]
    assert process.returncode == code
    assert there.read_bytes() == b"from before"
    left = set(os.listdir(tmp_path)) - {there.name}
    if sign == "SIGKILL":
        assert all(name.startswith(".out.") for name in left), "a hidden file, of another name"
    else:
        assert left == set()
    assert b"Traceback" not in said
    assert (b"avcc: interrupted\n" in said) == (sign == "SIGINT")


def _limited(folder: Path, size: int, *line: str) -> subprocess.CompletedProcess[bytes]:
    """The command, with no file larger than ``size`` bytes."""
    resource = pytest.importorskip("resource")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "-c", SLOW, "0", *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=300,
        preexec_fn=limit,
    )


@pytest.mark.parametrize("command", LINES)
def test_a_full_disk_is_a_sentence(tmp_path: Path, command: str) -> None:
    line = LINES[command]
    done = _limited(tmp_path, 5000, *line)
    assert done.returncode == FAILED
    told = [line for line in done.stderr.decode().splitlines() if not line.startswith("picture")]
    assert told == [f"avcc: {line[-1]} can't be written: file too large"]
    assert os.listdir(tmp_path) == []
    done = _limited(tmp_path, 1 << 30, *line)
    assert done.returncode == OK, done.stderr
    assert os.listdir(tmp_path) == [line[-1]]
    if command == "decode":
        with pytest.raises(Exception, match="no face"):
            read(tmp_path / line[-1])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(
    "line", [("info", str(VECTOR)), ("decode", str(VECTOR), "-o", "-"), ("--help",)]
)
def test_a_full_disk_behind_standard_output(tmp_path: Path, line: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", SLOW, "0", *line],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=300,
        )
    told = [line for line in done.stderr.decode().splitlines() if not line.startswith("picture")]
    assert done.returncode == FAILED
    assert told == ["avcc: no space left on device"]
