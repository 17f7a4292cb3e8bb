"""The errors that avcc raises on purpose; each carries one sentence for a person."""

from __future__ import annotations


class AvccError(Exception):
    """Base of every error that avcc raises on purpose."""


class MediaError(AvccError):
    """The source clip can't be opened, or holds nothing that avcc can code."""


class FormatError(AvccError):
    """The bytes aren't a readable ``.avc`` stream."""


class ModelError(AvccError):
    """A weight file is missing, damaged, or not the one that the stream names."""


class RateError(AvccError):
    """The bit rate that was asked for can't be reached for this clip."""
