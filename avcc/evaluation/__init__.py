"""The codec measured, alone and beside others: programs of their own (``python -m``)."""

from avcc.threads import sharing

sharing()  # before any of them loads PyTorch
