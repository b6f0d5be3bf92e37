"""Makes `python -m lmcore` the same as the command `lmcore`."""
import sys

from lmcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
