"""What is done to every text before anybody obeys it; gate and policy use the same functions."""

import enum
import unicodedata

from vla_core.errors import ObservationError

#: Longest instruction in characters.
MAX_TEXT = 512
#: Longest text that is looked at: who is afraid repeats, and white space is no instruction.
MAX_RAW = 8 * MAX_TEXT
#: What decoders put in the place of bytes that are no UTF-8.
UNREADABLE = '\ufffd'
#: Texts that stop the robot, compared whole. They can stop and nothing else.
STOP_WORDS = frozenset(
    {'stop', 'halt', 'freeze', 'stop moving', 'do not move', 'dont move', 'stand still', 'hold'}
    | {'wait', 'cancel', 'abort', 'stop the robot', 'stop it', 'stop there', 'emergency stop'}
    | {'e stop', 'estop', 'stay', 'stay still', 'stay there', 'whoa'}
    | {'stop here', 'stop right', 'stop right there', 'stop immediately', 'stop robot'}
    | {'robot stop'}
)
_FILLERS = frozenset({'please', 'now'})
_APOSTROPHES = frozenset("'’‘")


def clean_text(text: str) -> str:
    """Trim, remove control characters, join white space.

    Raises:
        ObservationError: if nothing is left.
        ObservationError: if more than MAX_RAW characters came in.
        ObservationError: if more than MAX_TEXT are left, and they are not one stop word again and
            again: that is heard as `stop`.
        ObservationError: if some of it were bytes that are no UTF-8: what was meant is a guess.
    """
    if UNREADABLE in text:
        raise ObservationError('instruction has bytes that are no text: expected UTF-8')
    cleaned = ' '.join(_visible(text).split()) if len(text) <= MAX_RAW else text
    if len(cleaned) > MAX_TEXT:
        if is_stop_word(text):
            return 'stop'
        raise ObservationError(
            f'instruction of {len(cleaned)} characters: expected at most {MAX_TEXT}'
        )
    if not cleaned:
        raise ObservationError('instruction is empty: expected 1 to 512 visible characters')
    return cleaned


def is_stop_word(text: str) -> bool:
    """Say whether the whole text, whatever its case, width and marks, is a stop word.

    Never raises: an empty or endless text is no stop word.
    """
    if len(text) > MAX_RAW:
        return False
    plain = unicodedata.normalize('NFKC', _visible(text)).casefold()
    words = [word for word in ''.join(map(_spoken, plain)).split() if word not in _FILLERS]
    return bool(words) and (' '.join(words) in STOP_WORDS or set(words) == {'stop'})


def _spoken(character: str) -> str:
    """Return a character as it is said: punctuation and pictures part words, accents are mute."""
    kind = unicodedata.category(character)[0]
    if kind == 'M' or character in _APOSTROPHES:
        return ''
    return ' ' if kind in 'PS' else character


def _visible(text: str) -> str:
    """Return a text without control characters, its white space as spaces."""
    return ''.join(
        ' ' if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != 'C'
    )


def printable(text: str) -> str:
    """Return what of a foreign text may be shown: nothing that ends a line or moves a cursor."""
    return ''.join(filter(str.isprintable, text))


def name_of(kind: type[enum.IntEnum], number: int) -> str:
    """Return the name of a number that came from elsewhere; one that is unknown says so."""
    try:
        return kind(number).name
    except ValueError:
        return f'{kind.__name__} {number}'
