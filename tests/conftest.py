"""Settings that must stand before numpy is loaded."""

from __future__ import annotations

import os

# The matrices of the tests are small, and threads that wait for one another cost minutes on a
# machine that does something else too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # several of these side by side
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["rehearsal"]  # its fixtures
