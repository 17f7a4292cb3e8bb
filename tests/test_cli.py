"""The command line: what it accepts, says, returns, and leaves alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avcc import cli
from avcc.cli import main
from avcc.errors import FormatError, MediaError
from avcc.options import parse_rate, parse_time
from avcc.stages import Clip
from avcc.threads import FEW, SPINS

ROOT = Path(__file__).parent.parent
CODED = b"\x89AVC\r\n\x1a\nnot a real stream"
needs_weights = pytest.mark.skipif(
    not (ROOT / "weights" / "manifest.json").exists(), reason="weights/manifest.json is absent"
)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "avcc", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, cwd=ROOT, **options)  # type: ignore[call-overload]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"a clip")
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "talk.avc"
    path.write_bytes(CODED)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A codec that notes what it's asked for: these tests are about the line, not the models."""
    asked: list[tuple[object, ...]] = []
    picture = Clip(np.zeros((25, 256, 256, 3), np.uint8), 25, None)

    class Codec:
        def __init__(self, device: str = "auto") -> None:
            asked.append(("device", device))

        def encode(
            self, clip: Clip, bitrate: float, *, mode, scene, fec, seed, progress, warn
        ) -> bytes:
            also = [name for name, wanted in (("scene", scene), ("fec", fec)) if wanted]
            asked.append(("encode", bitrate, mode, seed, *also))
            progress("analysing", 0.5)
            warn("something is odd")
            return CODED

        def decode(self, data: bytes, *, steps, seed, progress, warn, **other) -> Clip:
            asked.append(("decode", data, steps, seed))
            asked.append(("part", other))
            return picture

    def read(
        source: object,
        *,
        max_duration: float,
        max_pixels: int,
        warn: object,
        progress: Callable[[float], None],
    ) -> Clip:
        asked.append(("read", source))
        asked.append(("longest", max_duration))
        progress(1.0)
        return picture

    def write(target, clip, *, ending, title, progress, overwrite) -> None:
        asked.append(("write", title) if ending is None else ("write", title, ending))
        if isinstance(target, str):
            Path(target).write_bytes(b"a video")
        else:
            target.write(b"a video")

    fakes: dict[str, dict[str, object]] = {
        "codec": {"Codec": Codec},
        "media.read": {"read": read},
        "media.write": {"write": write},
    }
    for name, content in fakes.items():
        module = types.ModuleType(f"avcc.{name}")
        for key, value in content.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, f"avcc.{name}", module)
    return asked


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2kbps", 2000), ("2k", 2000), ("2000", 2000), ("800bps", 800), ("0.002M", 2000),
        ("2 kbps", 2000), (" 2.5K ", 2500), (".8kbps", 800), ("1.kbps", 1000), ("2kbit/s", 2000),
        ("0.008Mbps", 8000), ("1200 b/s", 1200),
    ],
)  # fmt: skip
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0k", "-2k", "nan", "inf", "two", "2kB/s", "2kBps", "2m", "2G", "1,5k", "1e3", "2kk",
     "2 0k", "k", ".", "9" * 400, "２k"],
)  # fmt: skip
def test_what_is_no_rate(text: str, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="isn't a bit rate"):
        parse_rate(text)
    assert main(["encode", str(clip), f"-b{text}" if text else "-b="]) == cli.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("avcc: ")
    assert "isn't a bit rate" in said.err


def test_help_begins_with_the_everyday_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == cli.OK
    text = capsys.readouterr().out
    first = [line.split()[:2] for line in text.splitlines()[:3]]
    assert first == [["avcc", "encode"], ["avcc", "decode"], ["avcc", "info"]]
    assert "Exit codes:" in text
    for code in (cli.OK, cli.FAILED, cli.USAGE, cli.DEFECT, cli.INTERRUPTED):
        assert f"\n  {code} " in text


def test_waiting_threads_soon_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a person wants them otherwise; set before PyTorch is loaded, which reads it then."""
    monkeypatch.setenv(SPINS, "7")
    main(["--version"])
    assert os.environ[SPINS] == "7"
    ask = "import os, sys; from avcc.cli import main; main(['--version']); "
    ask += f"print(os.environ[{SPINS!r}], 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != SPINS}
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == f"{FEW} False"


@pytest.mark.parametrize("command", ["encode", "decode", "info", "doctor", "export"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == cli.OK
    assert capsys.readouterr().out.startswith(f"Usage: avcc {command}")


def test_derived_names_and_defaults(
    clip: Path, asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", str(clip)]) == cli.OK
    assert clip.with_suffix(".avc").read_bytes() == CODED
    assert ("encode", 2000.0, "auto", 0) in asked
    assert ("device", "auto") in asked
    assert main(["decode", str(clip.with_suffix(".avc"))]) == cli.OK
    assert clip.with_name("talk.decoded.mp4").read_bytes() == b"a video"
    assert ("decode", CODED, None, None) in asked
    assert ("write", "talk") in asked
    said = capsys.readouterr()
    assert said.out == ""
    assert "avcc: something is odd\n" in said.err
    assert "\r" not in said.err  # no line of progress where stderr is no terminal
    assert sorted(os.listdir(clip.parent)) == ["talk.avc", "talk.decoded.mp4", "talk.mp4"]


def test_options_reach_the_codec(clip: Path, asked: list[tuple[object, ...]]) -> None:
    out = str(clip.with_name("other.avc"))
    options = ["--device", "cpu", "--seed", "7", "-b", "0.004M", "--mode", "audio-driven"]
    assert main(["encode", *options, str(clip), "-o", out]) == 0
    encoded = ("encode", 4000.0, "audio-driven", 7)
    assert asked[1:] == [("longest", 7200), ("device", "cpu"), encoded]
    assert main(["decode", out, "--steps", "9", "--seed", "3", "-o", out + ".mp4"]) == 0
    assert asked[5] == ("decode", CODED, 9, 3)


def test_times_reach_the_codec(stream: Path, asked: list[tuple[object, ...]]) -> None:
    assert main(["decode", str(stream)]) == cli.OK
    other: dict[str, object] = {"start": 0, "duration": None, "max_duration": 7200, "scene": True}
    assert asked[-2] == ("part", other | {"max_pixels": 4096 * 2304})
    line = ["--start", "1:02.5", "--duration", "20s", "--max-duration", "10:00:00", "-f"]
    assert main(["decode", *line, str(stream)]) == cli.OK
    other |= {"start": 62.5, "duration": 20, "max_duration": 36_000}
    assert asked[-2] == ("part", other | {"max_pixels": 4096 * 2304})


def test_surroundings_reach_the_codec(clip: Path, asked: list[tuple[object, ...]]) -> None:
    assert main(["encode", str(clip), "--scene"]) == cli.OK
    assert ("encode", 2000.0, "auto", 0, "scene") in asked
    assert main(["decode", "--face", "--max-pixels", "9", str(clip.with_suffix(".avc"))]) == cli.OK
    part, told = asked[-2]
    assert part == "part" and isinstance(told, dict)
    assert not told["scene"] and told["max_pixels"] == 9


def test_copies_reach_the_codec(clip: Path, asked: list[tuple[object, ...]]) -> None:
    assert main(["encode", str(clip), "--fec", "-b", "3k"]) == cli.OK
    assert ("encode", 3000.0, "auto", 0, "fec") in asked


def test_raw_outputs(
    stream: Path, asked: list[tuple[object, ...]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    voice = stream.with_name("voice.wav")
    both = ["decode", str(stream), "--raw-video", "-", "--raw-audio", str(voice)]
    assert main(both) == cli.OK
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == voice.read_bytes() == b"a video"
    assert asked[-2:] == [("write", "talk", ".wav"), ("write", "talk", ".y4m")]
    assert sorted(os.listdir(stream.parent)) == ["talk.avc", "voice.wav"], "no MP4 beside them"
    done = len(asked)
    assert main(both) == cli.FAILED, "voice.wav is there already"
    for line in (["-o", "x.mp4"], ["--raw-audio", "same"], ["--raw-audio", "-", "-o", "-"]):
        assert main(["decode", str(stream), "--raw-video", "same", *line]) == cli.USAGE
    assert len(asked) == done


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("2.5", 2.5), ("90s", 90), ("1:30", 90), ("1:02:03.5", 3723.5), ("0:05", 5)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-1", "1:60", "1:2:3:4", "nan", "inf", "1e3", "ten", "60:00:"]
)
def test_what_is_no_time(
    text: str, stream: Path, capsys: pytest.CaptureFixture[str], asked: list[tuple[object, ...]]
) -> None:
    assert main(["decode", str(stream), f"--start={text}"]) == cli.USAGE
    assert "isn't a time" in capsys.readouterr().err
    assert main(["decode", str(stream), "--duration=0"]) == cli.USAGE
    assert asked == []


def test_quiet_says_nothing(
    clip: Path, asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", "-q", str(clip)]) == cli.OK
    assert capsys.readouterr() == ("", "")


def test_nothing_is_overwritten_without_force(
    clip: Path, asked: list[tuple[object, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = clip.with_suffix(".avc")
    out.write_bytes(b"precious")
    assert main(["encode", str(clip)]) == cli.FAILED
    assert asked == []  # refused before the work
    assert out.read_bytes() == b"precious"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "-f overwrites it" in said
    assert main(["encode", str(clip), "-f"]) == cli.OK
    assert out.read_bytes() == CODED
    video = clip.with_name("talk.decoded.mp4")
    video.write_bytes(b"precious")
    assert main(["decode", str(out)]) == cli.FAILED
    assert video.read_bytes() == b"precious"


def test_the_input_is_never_the_output(stream: Path, asked: list[tuple[object, ...]]) -> None:
    assert main(["decode", str(stream), "-f", "-o", str(stream)]) == cli.USAGE
    assert stream.read_bytes() == CODED
    assert asked == []


def test_failure_leaves_nothing(
    clip: Path, asked: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MediaError("no face")

    monkeypatch.setattr(sys.modules["avcc.media.read"], "read", fail)
    assert main(["encode", str(clip)]) == cli.FAILED
    assert os.listdir(clip.parent) == ["talk.mp4"]


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FormatError("the bytes make no sense"), cli.FAILED, "avcc: the bytes make no sense\n"),
        (OSError(28, "No space left on device"), cli.FAILED, "avcc: no space left on device\n"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "avcc: interrupted\n"),
        (ValueError("x"), cli.DEFECT, "avcc: unexpected ValueError: x; -v shows where\n"),
    ],
)  # fmt: skip
def test_errors_are_one_sentence_and_a_code(
    error: BaseException, code: int, sentence: str, stream: Path, asked: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["avcc.media.write"], "write", fail)
    assert main(["decode", str(stream)]) == code
    said = capsys.readouterr()
    assert (said.out, said.err.lstrip("\n")) == ("", sentence)
    assert main(["decode", "-v", str(stream)]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code != cli.INTERRUPTED)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["encode", "no-such.mp4"], cli.FAILED),
        (["decode", "no-such.avc"], cli.FAILED),
        (["info", "no-such.avc"], cli.FAILED),
        (["info", "."], cli.FAILED),
        (["decode", __file__, "-o", "no-such-folder/x.mp4"], cli.FAILED),
        (["encode"], cli.USAGE),
        (["transcode", "x"], cli.USAGE),
        (["encode", __file__, "--device", "abacus"], cli.USAGE),
        (["encode", __file__, "--seed", "65536"], cli.USAGE),
        (["encode", __file__, "--mode", "lips"], cli.USAGE),
        (["decode", __file__, "--steps", "0"], cli.USAGE),
        (["info", "--nonsense", __file__], cli.USAGE),
        ([], cli.USAGE),
    ],
)
def test_exit_codes(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    if arguments:
        assert said.err.startswith("avcc: ")
        assert said.err.count("\n") == 1


def test_no_binary_to_a_terminal(
    stream: Path, asked: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["decode", str(stream), "-o", "-"]) == cli.USAGE
    assert asked == []


def test_stdout_carries_data_only(
    clip: Path, asked: list[tuple[object, ...]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["encode", str(clip), "-o", "-"]) == cli.OK
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == CODED
    assert os.listdir(clip.parent) == ["talk.mp4"]


def test_completion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, found in (("avcc de", ["decode"]), ("avcc decode --raw-v", ["--raw-video"])):
        monkeypatch.setenv("_AVCC_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 0
        assert capsys.readouterr().out.split() == [f"plain,{name}" for name in found]


def test_as_a_program() -> None:
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith(b"avcc ")
    nonsense = run("info", "-", input=b"this is not a stream")
    assert nonsense.returncode == cli.FAILED
    assert nonsense.stdout == b""
    assert nonsense.stderr.startswith(b"avcc: ")
    assert nonsense.stderr.count(b"\n") == 1


def test_a_closed_pipe_is_no_defect() -> None:
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "wb") as closed:
        command = [sys.executable, "-m", "avcc", "--help"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, cwd=ROOT, timeout=60)
    assert done.returncode == cli.FAILED
    assert done.stderr == b""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c(tmp_path: Path) -> None:
    fifo = tmp_path / "talk.avc"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "avcc", "info", str(fifo)]
    with (
        # a job in the background of a shell would inherit that SIGINT is ignored
        subprocess.Popen(
            command,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
        fifo.open("wb"),  # succeeds when it reads; it now waits for what never comes
    ):
        # one that comes between Python's last look for signals and the call that reads isn't seen
        # before that call returns
        for _ in range(12):
            process.send_signal(signal.SIGINT)
            try:
                said = process.communicate(timeout=5)[1]
                break
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == cli.INTERRUPTED
    assert said.strip() == b"avcc: interrupted"


@needs_weights
def test_info_of_a_kept_file() -> None:
    """Every test vector can be described, in words and in JSON, through a pipe or by name."""
    vectors = sorted((ROOT / "tests" / "vectors").glob("*.avc"))
    if not vectors:
        pytest.skip("tests/vectors holds no file yet")
    for path in vectors:
        told = run("info", "--json", "-", input=path.read_bytes())
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout)["bytes"] == path.stat().st_size
        assert run("info", str(path)).stdout.count(b"\n") > 3
