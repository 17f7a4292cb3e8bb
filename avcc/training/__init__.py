"""How the networks came to be: a program of its own (``python -m avcc.training``)."""

from avcc.threads import sharing

sharing()  # before it loads PyTorch
