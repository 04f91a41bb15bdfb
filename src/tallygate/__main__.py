"""`python -m tallygate` is the `tallygate` command."""

import sys

from tallygate.cli import main

if __name__ == "__main__":
    sys.exit(main())
