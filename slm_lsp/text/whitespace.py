"""White space at the two ends of a line.

Owns: how tabs count, and what a line end is turned into before text is looked at.

Invariant: pure. Threads: any.
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


def unix_lines(text: str) -> str:
    """`text` with line feeds only."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
