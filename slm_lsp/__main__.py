"""The program `slm-lsp`, and `python -m slm_lsp`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the exit status is returned."""
    from slm_lsp.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
