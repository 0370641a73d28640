"""What a text may and may not do."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.errors import ObservationError
from vla_core.gate.causes import State
from vla_core.text import (
    clean_text,
    is_stop_word,
    MAX_RAW,
    MAX_TEXT,
    name_of,
    printable,
    STOP_WORDS,
)


@pytest.mark.parametrize('word', sorted(STOP_WORDS))
@pytest.mark.parametrize('form', ['{}', ' {}! ', 'please {}', '{} now, please.', '"{}"'])
def test_stop_words_stop_in_any_dress(word, form):
    """Case, punctuation and politeness do not hide a stop word."""
    assert is_stop_word(form.format(word))
    assert is_stop_word(form.format(word).upper())


@pytest.mark.parametrize(
    'text',
    [
        *('', 'please', 'robot', 'do not stop', 'go to the stop sign', 'move forward'),
        *('stop at the red box', 'halt in front of the blue ball', 'stop when you see the box'),
        *('stop to the left of the ball', 'freeze next to it', 'stop once you are there'),
    ],
)
def test_other_texts_do_not_stop(text):
    """A stop inside a sentence, and one that names a place or a time, is the policy's business."""
    assert not is_stop_word(text)


@pytest.mark.parametrize(
    'text',
    [
        *('Stop! Stop! STOP!', 'stop ' * 150, 'stop' + ' ' * 600, 'please ' * 90 + 'stop'),
        *(
            'stop！',
            'ｓｔｏｐ',
            'stop。',
            '«stop»',
            '‘stop’',
            'don’t move',
            'STOP ✋',
            'STOP ✋🏽',
            '⚠️ stop ⚠️',
        ),
        *('stop right now', 'Robot, stop!', 'stop immediately', 'stop̶'),
        *(
            'stop moving immediately',
            'stop at once',
            'stop moving forward',
            'stop turning',
            'hold it',
        ),
        *('stop both wheels', 'stop the motion', 'stop right here', 'halt halt', 'wait, wait!'),
        *('stop and wait', 'stop!!!1', 'stop™', 'stóp', 'don´t move', 'don`t move', 'donʼt move'),
    ],
)
def test_stop_stops_however_often_and_with_whatever_marks(text):
    """A person in a hurry says it more than once, and a keyboard adds what it likes."""
    assert is_stop_word(text)
    assert is_stop_word(clean_text(text))


@given(st.text(max_size=MAX_TEXT))
def test_clean_text_is_visible_bounded_and_idempotent(text):
    """Whatever passes has no control characters and is not changed by a second pass."""
    try:
        cleaned = clean_text(text)
    except ObservationError:
        return
    assert 0 < len(cleaned) <= MAX_TEXT
    assert cleaned.isprintable() or all(c.isprintable() or c == ' ' for c in cleaned)
    assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize(
    'text',
    [
        *('', '   ', '\x00\x07\n', 'x' * (MAX_TEXT + 1), 'y' * 1_000_000, 'go \ufffd'),
        *(' ' * MAX_RAW + 'go', 'go ' * MAX_TEXT, 'stop ' * MAX_RAW),
    ],
)
def test_malformed_texts_are_refused(text):
    """Empty and endless texts are errors that say what was expected."""
    with pytest.raises(ObservationError, match='expected'):
        clean_text(text)


@given(st.text(max_size=60))
def test_stop_words_survive_cleaning(text):
    """Gate (raw text) and policy (cleaned text) agree about every text that the policy accepts."""
    try:
        cleaned = clean_text(text)
    except ObservationError:
        return
    assert is_stop_word(cleaned) == is_stop_word(text)


@given(st.text())
def test_printable_ends_no_line_moves_no_cursor_and_keeps_the_rest(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == ''.join(one for one in text if one.isprintable())


@pytest.mark.parametrize(('number', 'name'), [(State.ESTOP, 'ESTOP'), (99, 'State 99')])
def test_number_from_elsewhere_has_a_name_or_says_what_it_is(number, name):
    assert name_of(State, number) == name
