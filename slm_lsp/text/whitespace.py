"""Width of leading white space.

Owns: how tabs count. Invariant: pure. Threads: any.
"""


def columns(line: str, tab_columns: int = 8) -> int:
    """Width of a line's leading white space, tabs going to the next tab stop."""
    width = 0
    for char in line:
        if char == " ":
            width += 1
        elif char == "\t":
            width += tab_columns - width % tab_columns
        else:
            break
    return width
