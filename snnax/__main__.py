"""``python -m snnax``."""

import sys

from snnax.cli import main

if __name__ == "__main__":
    sys.exit(main())
