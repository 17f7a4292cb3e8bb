"""Marks of tests that need what not every Python can have."""

from __future__ import annotations

import importlib.util

import pytest

needs_mediapipe = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None,
    reason="MediaPipe, which measures landmarks, isn't installed (there are wheels up to 3.12)",
)
