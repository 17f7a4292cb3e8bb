"""A batch on a Ray cluster of two machines, both of them this one; skipped where Ray is absent."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avcc import cli, cluster
from avcc.jobs import Job
from avcc.terminal import FAILED, OK
from tests.test_batch import files
from tests.works import Copy

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'avcc[ray]'")
    from ray.cluster_utils import Cluster

    nodes: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # actors import tests.works


@pytest.mark.parametrize("count", [2, 5])
def test_actors_load_once_and_deaths_cost_one_job(tmp_path: Path, address: str, count: int) -> None:
    """Even where more actors are asked for than there are cores."""
    names = ["dies", "broken", *(f"good{n}" for n in range(8))]
    jobs = [Job(source, f"{source}.out") for source in files(tmp_path, *names)]
    found = {
        Path(outcome.job.source).name: outcome
        for outcome in cluster.outcomes(
            Copy(), jobs, lambda job, share: None, address=address, count=count
        )
    }
    assert set(found) == set(names)
    told = {name: outcome.told[-1] for name, outcome in found.items() if outcome.code != OK}
    assert set(told) == {"dies", "broken"}
    assert told["broken"] == f"{tmp_path / 'broken'} is broken"
    assert told["dies"].startswith("the actor that was at it is gone: ")
    notes = [Path(job.target).read_text().split() for job in jobs[2:]]
    assert len({note[0] for note in notes}) <= count + 1, "one in the place of the dead one"
    assert {note[1] for note in notes} == {"1"}


def test_the_command_line(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Relative names, as a person types them, on machines whose working folder is another."""
    monkeypatch.chdir(tmp_path)
    files(tmp_path, "text.mp4", "empty.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    line = ["encode", "text.mp4", "empty.mp4", "--out-dir", "d", "--ray", address, "--jobs", "2"]
    assert cli.main(line) == FAILED
    lines = capsys.readouterr().err.splitlines()
    assert "avcc: failed: empty.mp4: empty.mp4 is empty" in lines
    assert lines[-1] == "avcc: 2 failed"


def test_gpus_are_asked_for_where_they_are_wanted() -> None:
    assert cluster.resources("cuda") == {"num_cpus": 1, "num_gpus": 1}
    assert cluster.resources("cpu") == cluster.resources("auto") == {"num_cpus": 1, "num_gpus": 0}


def test_no_cluster_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    assert cli.main(["encode", *files(tmp_path, "a"), "--ray", where]) == FAILED
    assert f"avcc: no Ray cluster answers at {where}: " in capsys.readouterr().err


def test_without_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["encode", *files(tmp_path, "a"), "--ray", "auto"]) == FAILED
    assert capsys.readouterr().err.splitlines() == [
        "avcc: 1 not done; the same command goes on",
        "avcc: Ray isn't installed here: pip install 'avcc[ray]'",
    ]
