"""What the stages ``motionprior`` and ``acousticprior`` share: networks that foretell symbols.

Weights are rounded while they learn as they will be stored (straight through, Bengio et al. 2013),
so that what is exported is what was validated. ``pack`` joins them with the codebook.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from avcc.entropy.prior import HIDDEN_BITS, LOGIT_SHIFT, STATE_BITS
from avcc.entropy.tables import Codebook
from avcc.training.loop import Options, Stage

KINDS = ("motion", "acoustic")
Batch = tuple[Tensor, ...]


def whole(weight: Tensor, places: int) -> Tensor:
    """Weights as eight bits with so many binary places hold them."""
    scale = float(1 << places)
    kept = (weight * scale).round().clamp(-127, 127) / scale
    return weight + (kept - weight).detach()


def corrected(arrays: Mapping[str, np.ndarray], kind: str) -> int:
    """Checksum of the tables that a prior of this kind corrects: with others it is none."""
    names = sorted(n for n in arrays if n.startswith((f"table.{kind}", f"context.{kind}")))
    return zlib.crc32(b"".join(arrays[name].tobytes() for name in names))


def foretelling(work: Path) -> Codebook:
    """The codebook of a work folder with the priors that were learned for its tables."""
    arrays = load_file(work / "codebook.safetensors")
    for kind in KINDS:
        prior = work / f"{kind}prior.safetensors"
        found = load_file(prior) if prior.exists() else {}
        if found and int(found.pop("of")) == corrected(arrays, kind):
            arrays |= found
    return Codebook.from_arrays(arrays)


class PriorNet(nn.Module):
    """The network of ``entropy.prior``, in floats that round to its integers."""

    def __init__(self, size: int, slots: int, count: int, width: int) -> None:
        super().__init__()
        self.lookup = nn.Parameter(torch.randn(size, width) * 0.05)
        self.hidden = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Parameter(torch.randn(slots, width, count) * 0.01)
        self.out_bias = nn.Parameter(torch.zeros(slots, count))
        self.drop = nn.Dropout(0.1)

    def told(self, places: Tensor) -> Tensor:
        """Places (N, n) -> their sums (N, H)."""
        return nn.functional.embedding_bag(places, whole(self.lookup, STATE_BITS), mode="sum")

    def rows(self, places: Tensor) -> Tensor:
        """Places (...) -> rows (..., H)."""
        return nn.functional.embedding(places, whole(self.lookup, STATE_BITS))

    def forward(self, state: Tensor) -> Tensor:
        """Sums (N, S, H) of the first S slots -> what is added to their logits, in bits."""
        state = self.drop(state.relu())
        deeper = state @ whole(self.hidden, HIDDEN_BITS) + self.hidden_bias
        state = state + deeper.relu()
        slots = state.shape[1]
        out = whole(self.out[:slots], STATE_BITS)
        return torch.einsum("nsh,sha->nsa", state, out) + self.out_bias[:slots]

    def integers(self, name: str) -> dict[str, Tensor]:
        """The arrays of ``entropy.prior``, by the names that they have in a codebook."""
        half = 1 << HIDDEN_BITS - 1, 1 << LOGIT_SHIFT - 1  # floor then rounds to the nearest
        places = STATE_BITS + HIDDEN_BITS, 8 + LOGIT_SHIFT
        found = {
            "lookup": _integers(self.lookup, STATE_BITS, torch.int8),
            "hidden": _integers(self.hidden, HIDDEN_BITS, torch.int8),
            "hidden_bias": _integers(self.hidden_bias, places[0], torch.int32) + half[0],
            "out": _integers(self.out, STATE_BITS, torch.int8),
            "out_bias": _integers(self.out_bias, places[1], torch.int32) + half[1],
        }
        return {f"prior.{name}.{part}": one.contiguous() for part, one in found.items()}


def _integers(weight: Tensor, places: int, kind: torch.dtype) -> Tensor:
    scaled = (weight.detach().cpu().double() * (1 << places)).round()
    return (scaled.clamp(-127, 127) if kind == torch.int8 else scaled).to(kind)


class PriorStage(Stage):
    """Bits that symbols cost, beside what the table alone would ask for."""

    kind = ""
    width = 0

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.manual_seed(options.seed)
        self.book = Codebook.load(options.work / "codebook.safetensors")
        self.nets["net"] = self.made()
        self.optims["all"] = self.adam(self.nets, 2e-3, weight_decay=0.05)

    def made(self) -> PriorNet:
        """A new network."""
        raise NotImplementedError

    def drawn(self, rng: np.random.Generator) -> Batch:
        """A batch: what ``spent`` takes."""
        raise NotImplementedError

    def held(self) -> list[Batch]:
        """All batches of validation data."""
        raise NotImplementedError

    def spent(self, nets: nn.ModuleDict, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each symbol costs in bits (N, S), and what it would by the tables alone.

        Of places before (N, n), those of this code (N, S), biases (S,), symbols (N, S), and the
        tables' logits (N, S, A) in bits.
        """
        before, now, bias, symbol, base = (x.to(self.o.device) for x in batch)
        net = nets["net"]
        assert isinstance(net, PriorNet)
        said = net.rows(now)
        state = net.told(before)[:, None] + said.cumsum(1) - said + net.rows(bias)
        flat = symbol[..., None]

        def bits(logits: Tensor) -> Tensor:
            logs = (logits * np.log(2)).log_softmax(-1)
            return -logs.gather(-1, flat)[..., 0] / np.log(2)

        return bits(base + net(state)), bits(base)

    def step(self, i: int) -> dict[str, float]:
        bits, plain = self.spent(self.nets, self.next(self.drawn))
        loss = bits.mean()
        self.descend("all", loss)
        return {"share": float(loss.detach() / plain.mean())}

    @torch.no_grad()
    def validate(self, nets: nn.ModuleDict) -> dict[str, float]:
        shares = []
        for batch in self.held():
            bits, plain = self.spent(nets, batch)
            shares.append(float(bits.sum() / plain.sum()))
        return {"score": float(np.mean(shares)), "least": min(shares), "most": max(shares)}

    def export(self, nets: nn.ModuleDict) -> dict[str, Tensor]:
        net = nets["net"]
        assert isinstance(net, PriorNet)
        return net.integers(self.kind) | {
            "of": torch.tensor(corrected(self.book.arrays, self.kind))
        }
