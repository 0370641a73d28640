"""The command `vla bag`."""

from __future__ import annotations

from vla_core.errors import ConfigError
from vla_replay.bag import tools
from vla_replay.bag.reader import BagReader
from vla_replay.bag_options import AuditBag, Info, Merge, Repair, Trim
from vla_replay.conversion.dataset import to_dataset
from vla_replay.conversion.film import to_video
from vla_replay.options import ToDataset, ToVideo


def carry_out(what: Info | AuditBag | Trim | Merge | Repair | ToDataset | ToVideo) -> int:
    """Do it; return the exit status.

    Raises:
        BagError: if a bag cannot be read or written.
        ConfigError: if a robot file or an option is wrong.
    """
    if isinstance(what, Info):
        with BagReader(what.bag) as bag:
            print(tools.describe(bag))
    elif isinstance(what, AuditBag):
        from vla_replay.auditing import audit_bag, describe

        found = audit_bag(what)
        print(describe(found, what.robot))
        return 0 if found.kept else 1
    elif isinstance(what, Trim):
        topics = what.topics or None
        count = tools.trim(what.bag, what.output, what.start, what.end, topics)
        print(f'{count} messages in {what.output}')
    elif isinstance(what, Merge):
        print(f'{tools.merge(what.bags, what.output)} messages in {what.output}')
    elif isinstance(what, ToDataset):
        if what.shortest < 1:
            raise ConfigError(f'shortest is {what.shortest}: expected 1 frame or more')
        tally = to_dataset(what, print)
        print(f'{tally.frames} frames in {tally.episodes} episodes in {what.dest}')
        for reason, count in tally.left_out.items():
            print(f'left out: {count} times {reason}')
    elif isinstance(what, ToVideo):
        print(f'{to_video(what)} pictures in {what.dest}')
    else:
        done = tools.repair(what.bag, what.output)
        print(f'{done.messages} messages in {what.output}')
        if done.skipped:
            print(f'{done.skipped} damaged bytes were left out')
        if done.unknown:
            print(f'{done.unknown} messages were left out: the bag does not say of which topic')
    return 0
