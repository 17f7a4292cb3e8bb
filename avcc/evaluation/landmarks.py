"""MediaPipe without its chatter: the face mesh that measures, and that ours learned from."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from avcc.errors import AvccError


@contextmanager
def quiet() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 nowhere, for the length of the block.

    TensorFlow Lite and absl write there while a graph starts, past Python's ``sys.stderr`` and
    past every log level. Whatever Python itself prints inside the block is lost too, so keep it
    short; exceptions pass.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no stderr at all: nothing to keep clean
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def solutions() -> Any:
    """The module ``mediapipe.solutions``, imported on first use (about two seconds).

    Raises ``AvccError`` where MediaPipe isn't installed.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Each result of a graph passes through a protobuf call that warns of its own old age.
    warnings.filterwarnings("ignore", message=r"SymbolDatabase\.GetPrototype", append=False)
    try:
        with quiet():
            import mediapipe
    except ImportError as error:
        raise AvccError("MediaPipe's face mesh needs the package mediapipe (0.10)") from error
    return mediapipe.solutions


class MediaPipeMesh:
    """The mesh of the one face in a picture; use as a context manager.

    ``static=True`` finds the face anew in each picture. ``static=False`` follows it from picture
    to picture, faster and steadier: for frames of one clip, in order.
    """

    def __init__(self, *, static: bool = False, confidence: float = 0.5) -> None:
        module = solutions()
        with quiet():
            self._graph = module.face_mesh.FaceMesh(
                static_image_mode=static,
                max_num_faces=1,
                refine_landmarks=True,
                min_detection_confidence=confidence,
                min_tracking_confidence=confidence,
            )
            # The first picture is what makes the interpreters load, and talk.
            self._graph.process(np.zeros((64, 64, 3), np.uint8))

    def points(self, rgb: np.ndarray) -> np.ndarray | None:
        """float32 (478, 2), x right and y down in units of the longer side; ``None``: no face.

        ``rgb``: uint8 (H, W, 3). Points may lie outside the picture.
        """
        found = self._graph.process(np.ascontiguousarray(rgb)).multi_face_landmarks
        if not found:
            return None
        height, width = rgb.shape[:2]
        points = np.array([(p.x, p.y) for p in found[0].landmark], np.float32)
        scale = np.array([width, height], np.float32) / max(width, height)
        return np.asarray(points * scale, np.float32)

    def close(self) -> None:
        """Free the graph; the object can't be used after."""
        self._graph.close()

    def __enter__(self) -> MediaPipeMesh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
