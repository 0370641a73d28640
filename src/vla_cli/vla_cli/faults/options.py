"""Options of `vla faults`, readable without anything else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Break one thing after another while the simulated robot drives; judge what the gate does.

    Takes about 10 s per fault and repetition. Prints the reactions, writes build/faults.json. Exit
    status 1 if a reaction is not what the rules say. Nothing is sent to a real robot.
    """

    robot: str = 'sim'
    """robot file whose limits and inputs count: a name from config/robots, or a path"""
    policy: str = 'demo'
    """checkpoint (name or path) or built-in policy that drives"""
    only: tuple[str, ...] = ()
    """faults, by the names of `vla faults list`; all by default"""
    count: int = 3
    """repetitions of each fault"""


@dataclass(frozen=True)
class List:
    """Name every fault, what is done, and what the gate has to do about it."""

    robot: str = 'sim'
    """robot file whose limits and inputs count: a name from config/robots, or a path"""
