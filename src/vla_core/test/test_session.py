"""The life of an instruction: examples of every end, then properties over arbitrary lives."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from vla_core.errors import ObservationError
from vla_core.session import Fate, MOST_TEXTS, Session, Source
from vla_core.text import is_stop_word
from vla_core.types import Intent, Language, Status


def active():
    session = Session()
    session.activate()
    return session


def running(intent=Intent.GOAL, text='go to the red box', now=0.0, **goal):
    """Return an active session that follows instruction 1 since `now`."""
    session = active()
    heard = session.hear(now, text, **goal)
    session.understood(now, heard.id, Language(text, intent))
    return session


def fates(records):
    return [(record.id, record.fate) for record in records]


def run(session, start, stop, step=0.1, done=0.0, speed=0.0, turn_rate=0.0, odom=True):
    """Feed frames; return the records and the time of the first one."""
    count = round((stop - start) / step)
    for index in range(1, count + 1):
        now = start + index * step
        if odom:
            session.odometry(now, speed, turn_rate)
        if session.status is Status.RUNNING:
            session.predicted(now, done, speed, turn_rate)
        records = session.advance(now)
        if records:
            return fates(records), now
    return [], stop


def test_idle_before_any_text():
    session = active()
    assert (session.status, session.instruction_id, session.still) == (Status.IDLE, 0, True)
    assert session.advance(1000.0) == ()


def test_text_waits_for_the_policy_and_then_runs():
    session = active()
    heard = session.hear(1.0, '  Go to\tthe red box ', source_stamp=7)
    assert (heard.id, heard.text, heard.records) == (1, 'Go to the red box', ())
    assert session.pending_id == 1
    (record,) = session.understood(1.1, 1, Language(heard.text, Intent.GOAL))
    assert (record.fate, record.text, record.source_stamp) == (
        Fate.RUNNING,
        'Go to the red box',
        7,
    )
    assert (session.status, session.pending_id, session.still) == (Status.RUNNING, 0, False)


def test_not_understood_text_replaces_what_ran():
    session = running()
    heard = session.hear(1.0, 'sing me a song')
    assert fates(heard.records) == [(1, Fate.REPLACED)]
    records = session.understood(1.1, 2, Language('', Intent.REFUSED))
    assert fates(records) == [(2, Fate.REFUSED)]
    assert (session.status, session.instruction_id, session.still) == (Status.REFUSED, 2, True)


def test_failed_encoding_refuses_with_the_reason():
    session = active()
    session.hear(0.0, 'go')
    (record,) = session.not_understood(1, 'ValueError: boom')
    assert (record.fate, record.reason) == (Fate.REFUSED, 'ValueError: boom')


def test_stop_word_stops_at_once_and_has_an_id_and_a_record_of_its_own():
    session = running()
    heard = session.hear(1.0, 'Stop, please!', source_stamp=9)
    assert fates(heard.records) == [(1, Fate.STOPPED), (2, Fate.IDLE)]
    assert heard.records[1].source_stamp == 9
    assert heard.text is None
    assert (session.status, session.instruction_id, session.still) == (Status.IDLE, 2, True)


def test_stop_word_ends_a_text_that_still_waits_for_the_policy():
    session = active()
    session.hear(0.0, 'go to the red box')
    assert fates(session.hear(0.1, 'stop').records) == [(1, Fate.STOPPED), (2, Fate.IDLE)]
    assert session.understood(0.2, 1, Language('', Intent.GOAL)) == ()
    assert session.still


def test_newer_text_supersedes_one_that_still_waits():
    session = active()
    session.hear(0.0, 'go to the red box')
    assert fates(session.hear(0.1, 'go to the blue box').records) == [(1, Fate.REPLACED)]
    assert session.understood(0.2, 1, Language('', Intent.GOAL)) == ()
    assert session.not_understood(1, 'ValueError: boom') == ()
    assert fates(session.understood(0.3, 2, Language('', Intent.GOAL))) == [(2, Fate.RUNNING)]


@pytest.mark.parametrize('text', ['', '   ', '\x00\x07', 'a' * 513, 'stop ' * 200_000])
def test_malformed_text_is_reported_and_changes_nothing(text):
    session = running()
    heard = session.hear(1.0, text)
    assert fates(heard.records) == [(0, Fate.MALFORMED)]
    assert heard.records[0].text == ''
    assert (session.status, session.instruction_id, session.pending_id) == (Status.RUNNING, 1, 0)


@pytest.mark.parametrize('deadline', [-1.0, 120.1, math.nan, math.inf])
def test_goal_with_an_impossible_deadline_is_malformed(deadline):
    heard = active().hear(0.0, 'go', Source.ACTION, deadline=deadline)
    assert fates(heard.records) == [(0, Fate.MALFORMED)]


def test_texts_are_refused_while_the_policy_is_inactive_but_a_stop_is_recorded():
    session = Session()
    assert fates(session.hear(0.0, 'go').records) == [(1, Fate.REFUSED)]
    assert fates(session.hear(0.0, 'stop').records) == [(2, Fate.IDLE)]


def test_deactivation_ends_what_ran():
    session = running()
    assert fates(session.deactivate('shutting down')) == [(1, Fate.STOPPED)]
    assert session.still
    assert session.status is Status.IDLE


@pytest.mark.parametrize('moving', [{'speed': 0.1}, {'turn_rate': 1.0}])
def test_done_after_half_a_second_at_rest(moving):
    session = running()
    session.odometry(0.0, 0.3, 0.0)
    session.predicted(0.0, 0.9, 0.3, 0.0)
    assert session.still
    assert session.status is Status.RUNNING
    assert run(session, 0.0, 1.0, done=0.9, **moving) == ([], 1.0)
    records, when = run(session, 1.0, 3.0, done=0.9, speed=0.0)
    assert records == [(1, Fate.DONE)]
    assert when == pytest.approx(1.6)
    assert session.status is Status.DONE


def test_rest_counts_only_while_the_termination_head_speaks():
    session = running()
    assert run(session, 0.0, 5.0, done=0.5) == ([], 5.0)
    run(session, 5.0, 5.3, done=0.6)
    run(session, 5.3, 5.4, done=0.4)
    assert not session.still
    assert run(session, 5.4, 7.0, done=0.6)[1] == pytest.approx(6.0)


def test_without_odometry_zeros_sent_for_half_a_second_are_rest():
    session = running()
    records, when = run(session, 0.0, 2.0, done=0.9, speed=0.5, odom=False)
    assert records == [(1, Fate.DONE)]
    assert when == pytest.approx(0.6)


def test_rest_before_a_gap_in_the_odometry_does_not_count():
    session = running()
    run(session, 0.0, 0.1, done=0.9)
    records, when = run(session, 10.0, 12.0, done=0.9)
    assert records == [(1, Fate.DONE)]
    assert when == pytest.approx(10.6, abs=0.2)


def test_stale_odometry_counts_as_none():
    session = running()
    session.odometry(0.0, 0.5, 0.0)
    assert run(session, 1.0, 3.0, done=0.9, odom=False)[0] == [(1, Fate.DONE)]


@pytest.mark.parametrize('odom', [True, False])
def test_one_answer_is_not_enough_for_done(odom):
    session = running()
    session.predicted(1.0, 0.9, 0.3, 0.0)
    for index in range(100):
        now = 1.0 + index * 0.05
        if odom:
            session.odometry(now, 0.0, 0.0)
        assert session.advance(now) == ()


def test_a_slow_policy_ends_at_its_second_word():
    session = running()
    session.predicted(1.0, 0.9, 0.3, 0.0)
    assert session.advance(2.9) == ()
    session.predicted(3.0, 0.9, 0.0, 0.0)
    assert fates(session.advance(3.0)) == [(1, Fate.DONE)]


def test_failed_frame_silences_the_termination_head():
    session = running()
    run(session, 0.0, 0.4, done=0.9)
    session.unanswered()
    assert session.advance(0.7) == ()
    assert run(session, 0.7, 2.0, done=0.9)[1] == pytest.approx(1.3)


@pytest.mark.parametrize('odom', [True, False])
@pytest.mark.parametrize('turn_rate', [1.0, -1.0])
def test_two_full_turns_without_driving_are_not_found(odom, turn_rate):
    records, when = run(running(), 0.0, 60.0, turn_rate=turn_rate, odom=odom)
    assert records == [(1, Fate.NOT_FOUND)]
    assert when == pytest.approx(4 * math.pi, abs=0.2)


@pytest.mark.parametrize('odd', [1e308, -1e308, 700.0])
def test_one_odd_turn_rate_ends_no_search(odd):
    session = running()
    assert run(session, 0.0, 1.0, turn_rate=1.0)[0] == []
    assert run(session, 1.0, 1.1, turn_rate=odd)[0] == []
    assert run(session, 1.1, 5.0, turn_rate=1.0)[0] == []


def test_a_gap_in_the_input_is_no_turn():
    session = running()
    assert run(session, 0.0, 0.1, turn_rate=1.0)[0] == []
    assert run(session, 30.0, 30.1, turn_rate=1.0)[0] == []


def test_wobbling_is_no_turn():
    session = running()
    now = 0.0
    for turn in range(50):
        records, now = run(session, now, now + 1.0, turn_rate=1.0 if turn % 2 else -1.0)
        assert records == []


def test_driving_ends_a_search():
    session = running()
    assert run(session, 0.0, 12.0, turn_rate=1.0)[0] == []
    assert run(session, 12.0, 13.0, speed=0.4)[0] == []
    records, when = run(session, 13.0, 40.0, turn_rate=1.0)
    assert records == [(1, Fate.NOT_FOUND)]
    assert when > 25.0


def test_a_new_text_begins_a_search_of_its_own():
    session = running()
    assert run(session, 0.0, 12.0, turn_rate=1.0)[0] == []
    heard = session.hear(12.0, 'go to the blue box')
    session.understood(12.0, heard.id, Language(heard.text, Intent.GOAL))
    records, when = run(session, 12.0, 40.0, turn_rate=1.0)
    assert records == [(2, Fate.NOT_FOUND)]
    assert when == pytest.approx(12.0 + 4 * math.pi, abs=0.2)


def test_drift_while_turning_is_no_driving():
    records, _ = run(running(), 0.0, 20.0, turn_rate=1.0, speed=0.01)
    assert records == [(1, Fate.NOT_FOUND)]


def test_a_minute_of_search_is_not_found():
    records, when = run(running(), 0.0, 100.0, turn_rate=0.15)
    assert records == [(1, Fate.NOT_FOUND)]
    assert when == pytest.approx(60.0, abs=0.2)


def test_standing_still_is_no_search():
    records, when = run(running(), 0.0, 200.0)
    assert records == [(1, Fate.TIMED_OUT)]
    assert when == pytest.approx(120.0, abs=0.2)


def test_goal_times_out_after_two_minutes():
    records, when = run(running(), 0.0, 200.0, speed=0.3)
    assert records == [(1, Fate.TIMED_OUT)]
    assert when == pytest.approx(120.0, abs=0.2)


def test_motion_ends_done_after_ten_seconds():
    records, when = run(running(Intent.MOTION), 0.0, 200.0, turn_rate=1.2)
    assert records == [(1, Fate.DONE)]
    assert when == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize('intent', [Intent.GOAL, Intent.MOTION])
def test_deadline_of_a_goal(intent):
    session = running(intent, source=Source.ACTION, deadline=5.0)
    records, when = run(session, 0.0, 200.0, speed=0.3)
    assert records == [(1, Fate.TIMED_OUT)]
    assert when == pytest.approx(5.0, abs=0.2)


def test_text_that_the_policy_never_answers_times_out():
    session = running()
    session.hear(0.0, 'go', Source.ACTION, deadline=5.0)
    assert session.advance(4.9) == ()
    assert fates(session.advance(5.0)) == [(2, Fate.TIMED_OUT)]
    assert (session.pending_id, session.status) == (0, Status.TIMED_OUT)
    assert session.instruction_id == 2


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_odometry_must_be_finite(bad):
    session = running()
    with pytest.raises(ObservationError):
        session.odometry(0.0, bad, 0.0)
    with pytest.raises(ObservationError):
        session.odometry(0.0, 0.0, bad)
    assert session._search.turned == 0.0


def test_next_text_after_every_end_runs():
    for end in ('stop', 'refused', 'done'):
        session = running(Intent.MOTION)
        if end == 'stop':
            session.hear(1.0, 'stop')
        elif end == 'refused':
            session.understood(1.0, session.hear(1.0, 'x').id, Language('', Intent.REFUSED))
        else:
            run(session, 0.0, 11.0)
        heard = session.hear(20.0, 'again')
        assert heard.records == ()
        records = session.understood(20.0, heard.id, Language('', Intent.GOAL))
        assert fates(records) == [(heard.id, Fate.RUNNING)]


#: From which fate an id may go to which; a missing key is an end.
ALLOWED = {
    None: set(Fate) - {Fate.DONE, Fate.NOT_FOUND},
    Fate.RUNNING: {Fate.DONE, Fate.NOT_FOUND, Fate.TIMED_OUT, Fate.REPLACED, Fate.STOPPED},
}

TEXTS = st.one_of(
    st.sampled_from(['stop', 'go to the red box', 'turn left', 'freeze', '', 'x' * 600]),
    st.text(max_size=20),
)
EVENTS = st.one_of(
    st.tuples(st.just('hear'), TEXTS),
    st.tuples(st.just('answer'), st.sampled_from(list(Intent))),
    st.tuples(st.just('late_answer'), st.integers(0, 5)),
    st.tuples(st.just('fail'), st.just('boom')),
    st.tuples(st.just('frame'), st.tuples(st.floats(0, 1), st.floats(-1, 1), st.floats(-2, 2))),
    st.tuples(st.just('odom'), st.tuples(st.floats(-1, 1), st.floats(-2, 2))),
    st.tuples(st.just('pause'), st.floats(0.0, 130.0)),
    st.tuples(st.just('activate'), st.booleans()),
)


class Life:
    """A session that every event goes through, with what may be true after each."""

    def __init__(self):
        self.session = active()
        self.now = 0.0
        self.newest = 0
        self.fate_of = {}

    def hear(self, text):
        heard = self.session.hear(self.now, text)
        assert heard.id == (self.newest + 1 if heard.id else 0)
        self.newest = max(self.newest, heard.id)
        return heard.records

    def answer(self, intent):
        return self.session.understood(self.now, self.session.pending_id, Language('', intent))

    def late_answer(self, instruction_id):
        if instruction_id != self.session.pending_id:
            language = Language('', Intent.GOAL)
            assert self.session.understood(self.now, instruction_id, language) == ()
        return ()

    def fail(self, reason):
        return self.session.not_understood(self.session.pending_id, reason)

    def frame(self, prediction):
        if self.session.status is Status.RUNNING:
            self.session.predicted(self.now, *prediction)
        return ()

    def odom(self, velocity):
        self.session.odometry(self.now, *velocity)
        return ()

    def pause(self, span):
        self.now += span
        return ()

    def activate(self, on):
        if not on:
            return self.session.deactivate('off')
        self.session.activate()
        return ()

    def note(self, records):
        """Every fate follows lawfully from the one before, in the order of the ids."""
        ids = [record.id for record in records if record.id]
        assert ids == sorted(ids)
        for record in records:
            if record.id:
                assert record.fate in ALLOWED.get(self.fate_of.get(record.id), set())
                self.fate_of[record.id] = record.fate

    def check(self):
        """Chunks are zero unless RUNNING, and only the newest text runs."""
        session = self.session
        if session.status is Status.RUNNING:
            assert self.fate_of[session.instruction_id] is Fate.RUNNING
            assert session.instruction_id == self.newest
            assert session.pending_id == 0
        else:
            assert session.still
        assert sum(fate is Fate.RUNNING for fate in self.fate_of.values()) <= 1
        assert session.pending_id in (0, self.newest)
        assert session.instruction_id <= self.newest


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_every_life_is_lawful(events):
    life = Life()
    for kind, value in events:
        life.now += 0.05
        life.note(getattr(life, kind)(value))
        life.note(life.session.advance(life.now))
        life.check()


@given(
    st.lists(
        st.sampled_from(
            [
                'stop',
                'STOP',
                'please',
                ' ',
                '\t',
                '!',
                '。',
                'now',
                '\x1c',
                '\x00',
                "'",
                'stop ' * 200,
            ]
        )
    )
)
def test_what_the_gate_takes_for_a_stop_word_stops_the_session_too(parts):
    """The gate judges the text as it came, the session after cleaning."""
    raw = ''.join(parts)
    heard = active().hear(0.0, raw)
    if is_stop_word(raw):
        assert fates(heard.records) == [(1, Fate.IDLE)]


def test_flood_of_texts_is_refused_and_a_stop_word_is_not():
    session = active()
    heard = [session.hear(5.0 + 0.001 * n, 'go to the red box') for n in range(MOST_TEXTS + 5)]
    assert all(one.id for one in heard[:MOST_TEXTS])
    for one in heard[MOST_TEXTS:]:
        assert fates(one.records) == [(0, Fate.MALFORMED)]
        assert f'more than {MOST_TEXTS} texts within a second' in one.records[0].reason
    assert session.hear(5.5, 'stop').id
    assert session.hear(6.1, 'go to the red box').id


def test_clock_that_goes_back_makes_no_flood():
    session = active()
    for _ in range(MOST_TEXTS):
        session.hear(500.0, 'go to the red box')
    assert session.hear(5.0, 'go to the red box').id
