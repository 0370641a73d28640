"""Subcommands of `vla`, found by their entry points; each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import tyro

from vla_replay.options import Bless, Check, Play


def replay(
    what: Annotated[
        Annotated[Check, tyro.conf.subcommand('check', prefix_name=False)]
        | Annotated[Bless, tyro.conf.subcommand('bless', prefix_name=False)],
        tyro.conf.arg(name=''),
    ],
) -> int:
    """Play a recording to the real graph, tick by tick, and judge what it does.

    Args:
        what: judge, or write what counts from now on.
    """
    from vla_replay.command import bless, check

    return check(what) if isinstance(what, Check) else bless(what)


def play(options: Annotated[Play, tyro.conf.arg(name='')]) -> int:
    """Play a recording into a running graph."""
    from vla_replay.player import play as play_bag

    return play_bag(options)
