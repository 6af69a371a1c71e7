def mean(numbers):
    """The arithmetic mean."""
    return


def median(numbers):
    """The middle of the sorted numbers."""
    ordered = sorted(numbers)
