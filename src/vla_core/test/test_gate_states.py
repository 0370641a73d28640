"""The transition table: every state against every event, and against all of them at once."""

from itertools import combinations, product
from pathlib import Path

import pytest

from vla_core.gate.causes import ARMED, Cause, Severity, severity, State
from vla_core.gate.states import Facts, transition
from vla_core.gate.table import cause_table, events, main, state_table

ORDER = (
    State.INIT,
    State.STOPPED,
    State.ARMING,
    State.ACTIVE,
    State.MANUAL,
    State.HOLD,
    State.CONTROLLED_STOP,
    State.ESTOP,
    State.FAULT,
)
LETTERS = dict(zip('ISRAMHCEF', ORDER, strict=True))
HICCUPS = (
    Cause.HEARTBEAT_LATE,
    Cause.BUSY_TOO_LONG,
    Cause.CHUNK_LAPSED,
    Cause.HOLD_REQUESTED,
)
POLICY_FAULTS = (
    Cause.HEARTBEAT_LOST,
    Cause.POLICY_RESTARTED,
    Cause.CHUNK_LOST,
    Cause.CAMERA_FROZEN,
    Cause.HOLD_BUDGET,
    Cause.POLICY_HUNG,
)
ROBOT_FAULTS = (
    Cause.ESTOP_INPUT_LOST,
    Cause.ODOM_LOST,
    Cause.ODOM_INVALID,
    Cause.STOP_REQUESTED,
    Cause.DISARMED,
    Cause.HUMAN_LOST,
    Cause.GEOFENCE,
    Cause.SCAN_LOST,
    Cause.SCAN_INVALID,
    Cause.SCAN_FROZEN,
    Cause.GATE_HUNG,
)
EMERGENCIES = (
    Cause.ESTOP_INPUT,
    Cause.ESTOP_SERVICE,
    Cause.ESTOP_REQUESTED,
    Cause.STOP_TIMEOUT,
    Cause.INTERNAL_ERROR,
    Cause.ZONE_STOP,
)
#: Causes that change what is published and no state.
NO_STATE = (
    Cause.STOP_WORD,
    Cause.BREACHED,
    Cause.SLOW_REQUESTED,
    Cause.ZONE_SLOW,
    Cause.ZONE_APPROACH,
    Cause.FENCE_NEAR,
)


def _facts(*causes, **facts):
    return Facts(causes=frozenset(causes), **facts)


#: Event -> next state from each state of ORDER.
TABLE = [
    ('nothing', _facts(), 'ISRAMACEF'),
    *((cause.name, _facts(cause), 'ISRAMACEF') for cause in NO_STATE),
    *((cause.name, _facts(cause), 'ISHHMHCEF') for cause in HICCUPS),
    *(
        (f'{cause.name}, no holds left', _facts(cause, holds_left=0), 'ISCCMHCEF')
        for cause in HICCUPS
    ),
    ('hiccup, one hold left', _facts(Cause.CHUNK_LAPSED, holds_left=1), 'ISHHMHCEF'),
    *((cause.name, _facts(cause), 'ISCCMCCEF') for cause in POLICY_FAULTS),
    *((cause.name, _facts(cause), 'ISCCCCCEF') for cause in ROBOT_FAULTS),
    *((cause.name, _facts(cause), 'EEEEEEEEF') for cause in EMERGENCIES),
    ('ERRORS_IN_ROW', _facts(Cause.ERRORS_IN_ROW), 'ISEEEEEEF'),
    ('SECOND_WRITER', _facts(Cause.SECOND_WRITER), 'IEEEEEEEF'),
    ('ASSERTION', _facts(Cause.ASSERTION), 'FFFFFFFFF'),
    ('initialised', _facts(initialised=True), 'SSRAMACEF'),
    ('arm', _facts(arm=True), 'IRRAMACEF'),
    ('reset', _facts(reset=True), 'ISRAMACSF'),
    ('human', _facts(human=True), 'IMRMMACEF'),
    ('human, hiccup', _facts(Cause.CHUNK_LAPSED, human=True), 'IMHMMHCEF'),
    ('human, policy lost', _facts(Cause.HEARTBEAT_LOST, human=True), 'IMCMMCCEF'),
    ('human, odom lost', _facts(Cause.ODOM_LOST, human=True), 'ISCCCCCEF'),
    ('human, errors', _facts(Cause.ERRORS_IN_ROW, human=True), 'ISEEEEEEF'),
    ('ramped', _facts(ramped=True), 'ISAAMACEF'),
    ('ramped, hiccup', _facts(Cause.CHUNK_LAPSED, ramped=True), 'ISHHMHCEF'),
    ('at rest', _facts(at_rest=True), 'ISRAMASEF'),
    ('at rest, policy lost', _facts(Cause.HEARTBEAT_LOST, at_rest=True), 'ISCCMCSEF'),
    ('at rest, emergency', _facts(Cause.ESTOP_INPUT, at_rest=True), 'EEEEEEEEF'),
    ('arm, emergency', _facts(Cause.ESTOP_INPUT, arm=True), 'EEEEEEEEF'),
    ('hiccup and fault', _facts(Cause.CHUNK_LAPSED, Cause.HEARTBEAT_LOST), 'ISCCMCCEF'),
    ('fault and emergency', _facts(Cause.HEARTBEAT_LOST, Cause.ESTOP_INPUT), 'EEEEEEEEF'),
    ('emergency and assertion', _facts(Cause.ESTOP_INPUT, Cause.ASSERTION), 'FFFFFFFFF'),
]
ROWS = [
    pytest.param(state, facts, LETTERS[letter], id=f'{state.name}-{event}')
    for event, facts, letters in TABLE
    for state, letter in zip(ORDER, letters, strict=True)
]


@pytest.mark.parametrize(('state', 'facts', 'expected'), ROWS)
def test_transition_follows_the_table(state, facts, expected):
    assert transition(state, facts)[0] is expected


def test_table_names_every_cause():
    named = set(NO_STATE + HICCUPS + POLICY_FAULTS + ROBOT_FAULTS + EMERGENCIES)
    named |= {
        Cause.NONE,
        Cause.ERRORS_IN_ROW,
        Cause.SECOND_WRITER,
        Cause.ASSERTION,
    }
    assert named == set(Cause)


@pytest.mark.parametrize('state', [State.ARMING, State.ACTIVE, State.HOLD])
@pytest.mark.parametrize('low', [Cause.STOP_WORD, *HICCUPS, *POLICY_FAULTS])
@pytest.mark.parametrize('high', [*ROBOT_FAULTS, *EMERGENCIES, Cause.ASSERTION])
def test_the_highest_cause_wins(state, low, high):
    after, cause = transition(state, _facts(low, high))
    assert severity(cause) is max(severity(low), severity(high))
    severe = {
        Severity.FAULT: State.CONTROLLED_STOP,
        Severity.EMERGENCY: State.ESTOP,
        Severity.ASSERTION: State.FAULT,
    }
    assert after is severe[severity(cause)]


@pytest.mark.parametrize('state', ORDER)
def test_change_of_state_by_a_cause_names_it(state):
    for cause in Cause:
        after, why = transition(state, _facts(cause))
        if cause and after is not state and severity(cause) > Severity.OPERATIONAL:
            assert why is cause


# -- all of them at once -----------------------------------------------------------------------

#: One cause of every kind that a transition can tell apart.
KINDS = (
    Cause.STOP_WORD,
    Cause.ZONE_SLOW,
    Cause.CHUNK_LAPSED,
    Cause.HEARTBEAT_LOST,
    Cause.ODOM_LOST,
    Cause.ESTOP_INPUT,
    Cause.ERRORS_IN_ROW,
    Cause.SECOND_WRITER,
    Cause.ASSERTION,
)
SETS = [frozenset(found) for size in range(4) for found in combinations(KINDS, size)]
FLAGS = ('initialised', 'arm', 'reset', 'human', 'ramped', 'at_rest')
FACTS = [
    Facts(causes, *flags, holds_left=holds)
    for causes in SETS
    for flags in product((False, True), repeat=len(FLAGS))
    for holds in (0, 3)
]
#: From moving freely to not at all.
RUNGS = {
    State.ARMING: 0,
    State.ACTIVE: 0,
    State.MANUAL: 0,
    State.HOLD: 1,
    State.CONTROLLED_STOP: 2,
    State.STOPPED: 3,
    State.INIT: 3,
    State.ESTOP: 4,
    State.FAULT: 5,
}


def _latches(state, causes):
    exempt = {State.INIT: {Cause.ERRORS_IN_ROW, Cause.SECOND_WRITER}}
    exempt[State.STOPPED] = {Cause.ERRORS_IN_ROW}
    emergencies = {Cause.ESTOP_INPUT, Cause.ERRORS_IN_ROW, Cause.SECOND_WRITER}
    return bool((causes & emergencies) - exempt.get(state, set()))


def _door(state, after, facts):
    """Say whether a change of state is one that the specification knows, for its reason."""
    return {
        State.INIT: False,
        State.STOPPED: {
            State.INIT: facts.initialised,
            State.CONTROLLED_STOP: facts.at_rest,
            State.ESTOP: facts.reset,
        }.get(state, False),
        State.ARMING: state is State.STOPPED and facts.arm,
        State.ACTIVE: (state is State.HOLD or (state is State.ARMING and facts.ramped))
        and Cause.CHUNK_LAPSED not in facts.causes,
        State.MANUAL: state in (State.STOPPED, State.ACTIVE) and facts.human,
        State.HOLD: state in (State.ARMING, State.ACTIVE) and facts.holds_left > 0,
        State.CONTROLLED_STOP: state in ARMED | {State.MANUAL},
        State.ESTOP: _latches(state, facts.causes),
        State.FAULT: Cause.ASSERTION in facts.causes,
    }[after]


def _demanded(state, facts):
    """Return the states of which one must follow."""
    causes = facts.causes
    if state is State.FAULT or Cause.ASSERTION in causes:
        return {State.FAULT}
    if state is State.ESTOP:
        return {State.STOPPED if facts.reset else State.ESTOP}
    if _latches(state, causes):
        return {State.ESTOP}
    person = {State.MANUAL} if state is State.ACTIVE and facts.human else set()
    if state in ARMED | {State.MANUAL} and Cause.ODOM_LOST in causes:
        return {State.CONTROLLED_STOP}
    if state in ARMED and Cause.HEARTBEAT_LOST in causes:
        return person or {State.CONTROLLED_STOP}
    if state in ARMED and Cause.CHUNK_LAPSED in causes:
        return person or {State.HOLD, State.CONTROLLED_STOP}
    return set(State)


@pytest.mark.parametrize('state', ORDER)
def test_every_state_against_every_set_of_facts(state):
    """The rules of the specification, one by one, for 16 640 sets of facts in each state."""
    for facts in FACTS:
        after, cause = transition(state, facts)
        assert after is state or _door(state, after, facts), (facts, after)
        assert after in _demanded(state, facts), (facts, after)
        # A cause that is named is active.
        assert not cause or cause in facts.causes or cause is Cause.HOLD_BUDGET
        # A state in which the robot drives has none.
        assert not cause or after not in (State.ARMING, State.ACTIVE, State.MANUAL)


@pytest.mark.parametrize('state', ORDER)
def test_causes_only_escalate(state):
    """One more cause never leads to a state in which more may move; a person aside."""
    for facts in FACTS[:: len(FLAGS) + 1]:
        if facts.human or facts.arm or len(facts.causes) == 3:
            continue
        rung = RUNGS[transition(state, facts)[0]]
        for cause in KINDS:
            more = Facts(
                facts.causes | {cause},
                *(getattr(facts, flag) for flag in FLAGS),
                holds_left=facts.holds_left,
            )
            assert RUNGS[transition(state, more)[0]] >= rung


def test_tables_of_the_reference_are_those_of_the_code(capsys):
    """`python -m vla_core.gate.table` prints them."""
    main()
    assert capsys.readouterr().out == f'{state_table()}\n\n{cause_table()}\n'
    text = (Path(__file__).parents[3] / 'docs' / 'reference' / 'safety.md').read_text()
    assert state_table() in text
    assert cause_table() in text


def test_state_table_has_every_event():
    names = [name for name, _ in events()]
    assert len(names) == len(set(names))
    assert {cause.name for cause in Cause} - set(names) == {'NONE'}
    alone = {flag for _, facts in events() for flag in FLAGS if getattr(facts, flag)}
    assert alone == set(FLAGS)
    # Each cell, against the table that was written by hand.
    expected = {name: letters for name, _, letters in TABLE}
    for name, facts in events():
        if name in expected:
            after = [transition(state, facts)[0] for state in ORDER]
            assert after == [LETTERS[letter] for letter in expected[name]]
