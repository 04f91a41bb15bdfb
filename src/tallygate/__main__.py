"""`python -m tallygate` is the `tallygate` command; without the libraries of either extra, it says which there are."""

import sys

_EXTRAS = "The commands come with an extra: pip install 'tallygate[direct]', or 'tallygate[server]'\n"


def main() -> int:
    """Run one command and return its exit code."""
    try:
        from tallygate.cli import main as run  # noqa: PLC0415  (the library alone has no command line)
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.stderr.write(_EXTRAS)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
