"""What is done to every text before anybody obeys it; gate and policy use the same functions."""

import enum
import unicodedata

from vla_core.errors import ObservationError

#: Longest instruction in characters.
MAX_TEXT = 512
#: Longest text that is looked at: who is afraid repeats, and white space is no instruction. The
#: gate looks at every text, for 0.7 us a character.
MAX_RAW = 2 * MAX_TEXT
#: What decoders put in the place of bytes that are no UTF-8.
UNREADABLE = '\ufffd'
#: Texts that stop the robot, compared whole, also said more than once. They can stop and nothing
#: else.
STOP_WORDS = frozenset(
    {'stop', 'halt', 'freeze', 'stop moving', 'do not move', 'dont move', 'stand still', 'hold'}
    | {'wait', 'cancel', 'abort', 'stop the robot', 'stop it', 'stop there', 'emergency stop'}
    | {'e stop', 'estop', 'stay', 'stay still', 'stay there', 'whoa'}
    | {'stop right', 'stop right here', 'stop right there', 'stop at once', 'hold it'}
)
#: So does whatever begins with one of these and names no place or time to stop at.
_HALTS = frozenset({'stop', 'halt', 'freeze'})
_WHERE = frozenset(
    {'at', 'by', 'near', 'nearby', 'next', 'close', 'beside', 'besides', 'alongside', 'against'}
    | {'in', 'inside', 'within', 'on', 'over', 'under', 'with', 'between', 'beyond', 'around'}
    | {'before', 'behind', 'after', 'past', 'opposite', 'facing', 'touching', 'short', 'to'}
    | {'from', 'left', 'right', 'when', 'once', 'where', 'wherever', 'until', 'if'}
)
_FILLERS = frozenset({'please', 'now', 'robot'})
_APOSTROPHES = frozenset("'’‘´`ʼ′")


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
    words = [word for word in _spoken(_visible(text)).split() if word not in _FILLERS]
    if not words:
        return False
    if words[0] in _HALTS and not _WHERE.intersection(words):
        return True
    return ' '.join(words) in STOP_WORDS or (len(set(words)) == 1 and words[0] in STOP_WORDS)


def _spoken(text: str) -> str:
    """Return a text as it is said: punctuation and pictures part words, accents are mute."""
    parted = ''.join(
        ' ' if unicodedata.category(one)[0] in 'PS' else one
        for one in text
        if one not in _APOSTROPHES
    )
    folded = unicodedata.normalize('NFKD', parted).casefold()
    return ''.join(one for one in folded if unicodedata.category(one)[0] != 'M')


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
