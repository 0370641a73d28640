"""The transition table, every state against every event."""

import pytest

from vla_core.gate.causes import Cause, Severity, severity, State
from vla_core.gate.states import Facts, transition

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
