"""Something to complete: `slm-lsp complete examples/averages.py:6:11`."""


def mean(numbers):
    """The arithmetic mean."""
    return


def median(numbers):
    """The middle of the sorted numbers."""
    return sorted(numbers)[len(numbers) // 2]
