"""Where tables are printed."""

from rich.console import Console


def open_console(width: int) -> Console:
    """Return the terminal as it is; of a file or a pipe, lines of `width` characters."""
    console = Console()
    return console if console.is_terminal else Console(width=width)
