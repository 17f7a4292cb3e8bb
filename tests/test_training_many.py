"""Batches that other processes make, and several processes that train one network."""

from __future__ import annotations

import os
import signal
import socket
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, multiprocessing, nn

from avcc.training import ranks
from avcc.training.ahead import ahead
from avcc.training.loop import Options, Stage, run


def _numbers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"x": rng.random(3), "process": np.array(os.getpid())}


def test_batches_come_from_workers() -> None:
    own = [b["x"] for b in islice(ahead(_numbers, 0, 7), 4)]
    again = [b["x"] for b in islice(ahead(_numbers, 0, 7), 4)]
    assert all(isinstance(x, Tensor) and (x == y).all() for x, y in zip(own, again, strict=True))
    assert (own[0] != next(ahead(_numbers, 0, 8))["x"]).all()
    made = [*islice(ahead(_numbers, 2, 7), 6)]
    assert len({float(b["x"][0]) for b in made}) == 6  # no two workers draw the same
    processes = {int(b["process"]) for b in made}
    assert len(processes) == 2 and os.getpid() not in processes
    assert sorted(float(b["x"][0]) for b in made) == sorted(
        float(b["x"][0]) for b in islice(ahead(_numbers, 2, 7), 6)
    )


class Mean(Stage):
    """Its gradient is the mean of what its process draws; a buffer counts that process's steps."""

    name = "mean"
    batch = 2

    def __init__(self, work: Path, last: int) -> None:
        super().__init__(Options(work, work, minutes=1000.0))
        torch.manual_seed(ranks.rank())  # they begin apart, and are brought together
        self.nets["line"] = nn.Linear(2, 1, bias=False)
        self.nets["line"].register_buffer("mine", torch.zeros(1))
        self.optims["all"] = self.adam(self.nets, 0.1)
        self.last = last
        self.drawn: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def step(self, i: int) -> dict[str, float]:
        x = self.next(lambda rng: rng.random((self.batch, 2)).astype(np.float32))
        self.drawn.append(x)
        self.optims["all"].zero_grad()
        self.nets["line"](x).mean().backward()
        self.optims["all"].step()
        weight = self.nets["line"].get_parameter("weight")
        assert weight.grad is not None
        self.gradients.append(weight.grad.clone())
        self.nets["line"].get_buffer("mine").fill_(10 * ranks.rank() + i)
        if i == self.last and not ranks.rank():  # process 0 hears the signal, all of them stop
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        assert ranks.rank() == 0
        return {"score": 1.0}


def _process(number: int, port: int, folder: str) -> None:
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    assert ranks.join("cpu") == "cpu" and ranks.rank() == number
    stage = Mean(Path(folder), 2)
    run(stage)
    parts = {f"net.{k}": v for k, v in stage.nets.state_dict().items()}
    parts |= {"drawn": torch.stack(stage.drawn), "gradients": torch.stack(stage.gradients)}
    torch.save(parts, Path(folder) / f"{number}.pt")
    ranks.leave()


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_process, (port, str(tmp_path)), nprocs=2)
    one, other = (torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in (0, 1))
    assert one["drawn"].shape == (3, 2, 2) and (one["drawn"] != other["drawn"]).all()
    for name in ("net.line.weight", "net.line.mine", "gradients"):
        assert (one[name] == other[name]).all(), name
    mean = (one["drawn"].mean(1) + other["drawn"].mean(1)) / 2
    torch.testing.assert_close(one["gradients"][:, 0], mean)
    assert one["net.line.mine"] == 2  # process 0's, not 12
    assert load_file(tmp_path / "mean.safetensors")["line.mine"].shape == (1,)


def test_alone_nothing_is_shared() -> None:
    assert ranks.join("cuda") == "cuda" and ranks.rank() == 0
    assert ranks.shared([1.5, 2.0], "cpu") == [1.5, 2.0]
    ranks.leave()
