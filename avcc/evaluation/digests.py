"""What tells one file, package or list of settings from another, in a few letters."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path


def digest(*parts: str) -> str:
    """Of some texts in order; no two lists of texts have the same by putting them together."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def digest_of(*paths: Path) -> str:
    """Of the bytes of some files in order. Raises ``OSError``."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digest(*found)


def version(package: str) -> str | None:
    """Of an installed package; ``None`` where it isn't."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
