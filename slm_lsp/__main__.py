"""The program `slm-lsp`, and `python -m slm_lsp`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the exit status is returned."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        # Before all other imports: where a ready process runs, they are what it saves.
        from slm_lsp.ready.client import hand_over

        if (status := hand_over(arguments)) is not None:
            return status
    from slm_lsp.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
