"""The command `vla bag`."""

from __future__ import annotations

from vla_replay.bag import tools
from vla_replay.bag.reader import BagReader
from vla_replay.bag_options import Info, Merge, Repair, Trim


def carry_out(what: Info | Trim | Merge | Repair) -> int:
    """Do it; return the exit status.

    Raises:
        BagError: if a bag cannot be read or written.
    """
    if isinstance(what, Info):
        with BagReader(what.bag) as bag:
            print(tools.describe(bag))
    elif isinstance(what, Trim):
        topics = what.topics or None
        count = tools.trim(what.bag, what.output, what.start, what.end, topics)
        print(f'{count} messages in {what.output}')
    elif isinstance(what, Merge):
        print(f'{tools.merge(what.bags, what.output)} messages in {what.output}')
    else:
        done = tools.repair(what.bag, what.output)
        print(f'{done.messages} messages in {what.output}')
        if done.skipped:
            print(f'{done.skipped} damaged bytes were left out')
        if done.unknown:
            print(f'{done.unknown} messages were left out: the bag does not say of which topic')
    return 0
