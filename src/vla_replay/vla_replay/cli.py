"""Subcommands of `vla`, found by their entry points; each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import tyro

from vla_replay.bag_options import AuditBag, Info, Merge, Record, Repair, Trim
from vla_replay.options import Bless, Check, Collect, Drive, Play, ToDataset, ToVideo


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


def record(options: tyro.conf.OmitArgPrefixes[Record]) -> int:
    """Record the graph into a bag until Ctrl-C, or keep the last seconds for a trigger.

    The bag opens with `ros2 bag`, Foxglove and Lichtblick, whatever ends this process.

    Args:
        options: of the recorder.
    """
    from vla_replay.record_command import record as record_graph

    return record_graph(options)


def bag(
    what: Annotated[
        Annotated[Info, tyro.conf.subcommand('info', prefix_name=False)]
        | Annotated[AuditBag, tyro.conf.subcommand('audit', prefix_name=False)]
        | Annotated[Trim, tyro.conf.subcommand('trim', prefix_name=False)]
        | Annotated[Merge, tyro.conf.subcommand('merge', prefix_name=False)]
        | Annotated[Repair, tyro.conf.subcommand('repair', prefix_name=False)]
        | Annotated[ToDataset, tyro.conf.subcommand('to-dataset', prefix_name=False)]
        | Annotated[ToVideo, tyro.conf.subcommand('to-video', prefix_name=False)],
        tyro.conf.arg(name=''),
    ],
) -> int:
    """Look into bags, and make bags of bags.

    Args:
        what: to do.
    """
    from vla_replay.bag_command import carry_out

    return carry_out(what)


def demo(
    what: Annotated[
        Annotated[Collect, tyro.conf.subcommand('collect', prefix_name=False)]
        | Annotated[Drive, tyro.conf.subcommand('drive', prefix_name=False)],
        tyro.conf.arg(name=''),
    ],
) -> int:
    """Demonstrations: by a person, or by the shipped policy in the simulator.

    Args:
        what: to do.
    """
    if isinstance(what, Collect):
        from vla_replay.collecting.command import collect

        return collect(what)
    from vla_replay.demo_drive import drive

    return drive(what)
