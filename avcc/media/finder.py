"""Where in a picture faces may be, of whatever size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avcc import weights
from avcc.media.facenet import fused
from avcc.media.findernet import CELL, TYPICAL, FinderNet

SIDES = (480, 160, 80)  # pixels of the longer side, in which faces of 16 to 80 pixels are found
LEAST = -0.7  # logit of a place that is worth a closer look


class Finder:
    """Likely places of faces. Raises ``ModelError`` where the weights are missing or damaged."""

    def __init__(self) -> None:
        self._net = _network()

    def places(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) -> float32 (N, 4), the likeliest first: centre x, y and side of the box
        in pixels, and a logit."""
        places = found_in(self._net, rgb)
        return places[places[:, 3] > LEAST]


@torch.inference_mode()
def found_in(net: FinderNet, rgb: np.ndarray) -> np.ndarray:
    """As ``Finder.places``, with places that are hardly likely."""
    whole = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
    rows = []
    for side in SIDES:
        scale = side / max(rgb.shape[:2])
        if scale > 1.2 and side > min(SIDES):
            continue  # there is nothing more to see in it
        small = _shrunk(whole, scale) / 127.5 - 1
        found = marked(net(small.contiguous(memory_format=torch.channels_last))[0])
        found[:, :3] /= scale
        rows.append(found)
    places = np.concatenate(rows)
    return places[np.argsort(-places[:, 3])]


def marked(cells: Tensor) -> np.ndarray:
    """The network's (4, H, W) -> cells that are surer than their neighbours, float32 (N, 4): x,
    y, size in pixels, logit."""
    peak = F.max_pool2d(cells[None, :1], 3, 1, 1)[0, 0]
    y, x = torch.nonzero((cells[0] == peak) & (cells[0] > -3), as_tuple=True)
    logit, across, down, size = cells[:, y, x].float()
    rows = [(x + 0.5 + across) * CELL, (y + 0.5 + down) * CELL, size.exp() * TYPICAL, logit]
    return torch.stack(rows, 1).cpu().numpy()


def _shrunk(whole: Tensor, scale: float) -> Tensor:
    """A picture (1, 3, H, W) at another size, its sides made multiples of a cell by grey edges."""
    size = [max(CELL, round(n * scale)) for n in whole.shape[2:]]
    if scale < 1:
        small = F.interpolate(whole, size, mode="bilinear", antialias=True, align_corners=False)
    else:
        small = F.interpolate(whole, size, mode="bilinear", align_corners=False)
    down, right = (-n % CELL for n in size)
    return F.pad(small, (0, right, 0, down), value=127.5)


@lru_cache(maxsize=1)
def _network() -> FinderNet:
    net = FinderNet()
    held = weights.tensors(weights.default(), "faces")
    own = {k.removeprefix("finder."): v for k, v in held.items() if k.startswith("finder.")}
    net.load_state_dict(own)
    fused(net)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
