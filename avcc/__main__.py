"""``python -m avcc`` is the same as ``avcc``."""

import sys

from avcc.cli import main

sys.exit(main())
