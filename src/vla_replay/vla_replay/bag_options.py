"""Options of `vla record` and `vla bag`, readable without anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Topics = Annotated[tuple[str, ...], tyro.conf.arg(metavar='TOPIC ...')]


@dataclass(frozen=True)
class Record:
    """Options of the recorder; its parameters have the same meaning and defaults."""

    topics: tyro.conf.Positional[Topics] = ()
    """names, * and ? as in file names; all by default"""
    output: Path | None = None
    """the bag, a new folder; by default one named after the time, here; with --ring: the folder of
    the bags"""
    exclude: Topics = ()
    """topics that are left out"""
    images: Literal['jpeg', 'raw'] = 'jpeg'
    """how raw images are kept"""
    keep_raw: Topics = ()
    """image topics that are kept raw all the same"""
    jpeg_quality: int = 90
    """1 to 95"""
    ring: float | None = None
    """keep the last SECONDS in memory; written after an emergency stop or `vla record --save`"""
    after: float | None = None
    """with --ring: s that follow a trigger into its bag; 2 by default"""
    on_warn: bool = False
    """with --ring: a log message of level WARN triggers, too"""
    split_mb: int = 1000
    """MB after which a next file begins"""
    split_seconds: float = 3600.0
    """s after which a next file begins"""
    save: bool = False
    """have a recorder with --ring, which runs elsewhere, write its last seconds now"""
    namespace: str = ''
    """namespace of the robot, as given to vla_up"""


@dataclass(frozen=True)
class Info:
    """Say what is in a bag; one that is torn needs no repair for that."""

    bag: tyro.conf.Positional[Path]
    """folder, .mcap or .db3"""


@dataclass(frozen=True)
class Trim:
    """Copy a piece of a bag."""

    bag: tyro.conf.Positional[Path]
    """folder, .mcap or .db3"""
    output: tyro.conf.Positional[Path]
    """new folder"""
    start: float = 0.0
    """s after the first message"""
    end: float | None = None
    """s after the first message; the end of the bag by default"""
    topics: Topics = ()
    """all by default"""


@dataclass(frozen=True)
class Merge:
    """Put bags together, by the time of their messages."""

    output: tyro.conf.Positional[Path]
    """new folder"""
    bags: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar='BAG ...')]]
    """folders, .mcap or .db3"""


@dataclass(frozen=True)
class AuditBag:
    """Hold every command of a drive against the robot's limits; exit status 1 if one broke them.

    Reads what the gate said of each step, so it tells the steps at which another chunk began, and
    the stops that command zero at once on purpose.
    """

    bag: tyro.conf.Positional[Path]
    """folder, .mcap or .db3"""
    robot: str = 'sim'
    """robot file whose limits count: a name from config/robots, or a path"""
    topic: str = '/safety/decision'
    """of the decisions"""


@dataclass(frozen=True)
class Repair:
    """Save every message of a damaged MCAP bag that can be read, into another bag."""

    bag: tyro.conf.Positional[Path]
    """folder or .mcap"""
    output: tyro.conf.Positional[Path]
    """new folder"""
