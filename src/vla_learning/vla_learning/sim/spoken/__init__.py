"""Sentences written down one by one, as people speak; to train on, never to choose or judge with.

Each file has one on a line. Who wrote them had seen none of those that choose or judge.
"""

from __future__ import annotations

from importlib import resources


def lines(name: str) -> tuple[str, ...]:
    """Read the sentences of one file, without its ending."""
    file = resources.files(__name__) / f'{name}.txt'
    return tuple(file.read_text(encoding='utf-8').splitlines())
