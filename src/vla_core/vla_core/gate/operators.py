"""What operators may ask for, and the answers."""

from vla_core.gate.causes import MOVING, State
from vla_core.gate.messages import Reply, Request


def answer(request: Request, state: State, blockers: tuple[str, ...]) -> Reply:
    """Return the answer to a request; a refusal lists everything that is in the way.

    Args:
        request: of an operator.
        state: present state.
        blockers: what keeps the gate from being armed or reset.
    """
    if request is Request.DISARM:
        return Reply(True, 'stopping' if state in MOVING else f'not armed: {state.name}')
    if state is State.FAULT:
        return Reply(False, 'state is FAULT: restart the gate')
    if request is Request.TRIGGER_ESTOP:
        return Reply(True, 'ESTOP')
    needed = State.STOPPED if request is Request.ARM else State.ESTOP
    if state is not needed:
        blockers = (f'state is {state.name}: expected {needed.name}', *blockers)
    if blockers:
        return Reply(False, '; '.join(blockers))
    return Reply(True, 'arming' if request is Request.ARM else 'reset; not armed')
