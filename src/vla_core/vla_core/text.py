"""What is done to every text before anybody obeys it; gate and policy use the same functions."""

import string
import unicodedata

from vla_core.errors import ObservationError

#: Longest instruction in characters.
MAX_TEXT = 512
#: What decoders put in the place of bytes that are no UTF-8.
UNREADABLE = '\ufffd'
#: Texts that stop the robot, compared whole. They can stop and nothing else.
STOP_WORDS = frozenset(
    {'stop', 'halt', 'freeze', 'stop moving', 'do not move', 'dont move', 'stand still', 'hold'}
    | {'wait', 'cancel', 'abort', 'stop the robot', 'stop it', 'stop there', 'emergency stop'}
    | {'e stop', 'estop', 'stay', 'stay still', 'stay there', 'whoa'}
)
_FILLERS = frozenset({'please', 'now'})
_PUNCTUATION = str.maketrans(
    {mark: ' ' for mark in string.punctuation + '…–—“”„¡¿' if mark != "'"}
)


def clean_text(text: str) -> str:
    """Trim, remove control characters, join white space.

    Raises:
        ObservationError: if nothing is left.
        ObservationError: if more than MAX_TEXT characters came in.
        ObservationError: if some of it were bytes that are no UTF-8: what was meant is a guess.
    """
    if len(text) > MAX_TEXT:
        raise ObservationError(
            f'instruction of {len(text)} characters: expected at most {MAX_TEXT}'
        )
    if UNREADABLE in text:
        raise ObservationError('instruction has bytes that are no text: expected UTF-8')
    cleaned = ' '.join(_visible(text).split())
    if not cleaned:
        raise ObservationError('instruction is empty: expected 1 to 512 visible characters')
    return cleaned


def is_stop_word(text: str) -> bool:
    """Say whether the whole text, whatever its case and punctuation, is a stop word.

    Never raises: an empty or endless text is no stop word.
    """
    if len(text) > MAX_TEXT:
        return False
    plain = _visible(text).casefold().translate(_PUNCTUATION).replace("'", '').replace('’', '')
    words = [word for word in plain.split() if word not in _FILLERS]
    return bool(words) and (' '.join(words) in STOP_WORDS or set(words) == {'stop'})


def _visible(text: str) -> str:
    """Return a text without control characters, its white space as spaces."""
    return ''.join(
        ' ' if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != 'C'
    )
