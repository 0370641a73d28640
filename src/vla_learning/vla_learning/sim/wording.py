"""What people may say: sentences to train on, and others, never trained on, to judge with.

Standard library only, so that an evaluator without torch or numpy can import it.

An instruction is understood when it names one of six colours and three shapes, a thing by its
relation to others (`relations`), or one of four motions. A known object that is not there is
understood (the robot searches and reports NOT_FOUND); an unknown colour or thing ("the pink
pyramid"), a negation and any task other than driving are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
import random

from vla_learning.sim.spoken import lines

COLOURS = ('red', 'green', 'blue', 'yellow', 'purple', 'orange')
#: Shape of the simulator -> what people call it.
NOUNS = {
    'box': ('box', 'cube', 'block'),
    'ball': ('ball', 'sphere'),
    'cylinder': ('cylinder', 'pillar', 'column'),
}
FORWARD, BACK, LEFT, RIGHT = MOTIONS = ('move forward', 'move back', 'turn left', 'turn right')

#: {o} stands for colour and noun, {c} and {n} for one of them.
SPOKEN_TEMPLATES = lines('goals')
TRAIN_TEMPLATES = (
    *('go to the {o}', 'go to {o}', 'go to a {o}', 'go over to the {o}', 'go towards the {o}'),
    *('go straight to the {o}', 'go find the {o}', 'go and find the {o}', 'go near the {o}'),
    *('find the {o}', 'find a {o}', 'find me the {o}', 'look for the {o}', 'search for the {o}'),
    *('drive to the {o}', 'drive over to the {o}', 'drive up to the {o}', 'drive towards {o}'),
    *('move to the {o}', 'move toward the {o}', 'move close to the {o}', 'move next to the {o}'),
    *('head to the {o}', 'head over to the {o}', 'head towards the {o}', 'approach the {o}'),
    *('navigate to the {o}', 'travel to the {o}', 'walk to the {o}', 'run to the {o}'),
    *('reach the {o}', 'get to the {o}', 'come to the {o}', 'visit the {o}', 'locate the {o}'),
    *(
        'please go to the {o}',
        'please find the {o}',
        'please move to the {o}',
        'now go to the {o}',
    ),
    *('can you go to the {o}', 'could you drive to the {o}', 'could you look for the {o}'),
    *('i want you to go to the {o}', 'i need you to find the {o}', 'you should go to the {o}'),
    *('take me to the {o}', 'lead me to the {o}', 'bring me to the {o}', 'show me the {o}'),
    *('your target is the {o}', 'the goal is the {o}', 'the {o} please', 'to the {o}', 'the {o}'),
    *('{o}', 'stop at the {o}', 'stop next to the {o}', 'stop in front of the {o}'),
    *('robot go to the {o}', 'hey robot, find the {o}', 'ok, drive to the {o}', 'roll to the {o}'),
    *('go and stand by the {o}', 'wait at the {o}', 'try to find the {o}', 'try to reach the {o}'),
    *("let's go to the {o}", 'there is a {o}, go to it', 'do you see the {o}? go there'),
    *('go forward to the {o}', 'move forward to the {o}', 'drive straight to the {o}'),
    *('continue to the {o}', 'keep going until you get to the {o}', 'keep driving to the {o}'),
    *('turn to the {o} and go there', 'go back to the {o}', 'move until you are at the {o}'),
    *('turn around until you see the {o}', 'set course for the {o}', 'i am looking for the {o}'),
    *('go to the {n} that is {c}', 'find the {n} that is {c}', 'drive to the {c} coloured {n}'),
    *('go to the {n} with the color {c}', 'find the {c} colored {n}', 'get close to the {c} {n}'),
)
HELD_OUT_TEMPLATES = (
    *(
        'head for the {o}',
        'move over to the {o}',
        'make your way to the {o}',
        'proceed to the {o}',
    ),
    *('kindly drive to the {o}', 'can you find the {o}', 'go up to the {o}', 'advance to the {o}'),
    *('i would like you to drive to the {o}', 'steer towards the {o}', 'seek the {o}'),
    *('park next to the {o}', 'would you please approach the {o}', 'go right up to the {o}'),
    *('your destination is the {o}', 'head on over to the {o}', 'drive until you reach the {o}'),
    *('move to the {n} which is {c}', 'try to locate the {o}', 'now find the {o}'),
)
#: Goals that say in words what every goal means: come to rest there. A text that is nothing but a
#: stop word never gets here, the gate acts on it.
STOP_TEMPLATES = (
    *('go to the {o} and stop', 'go to the {o} and stop there', 'drive to the {o}, then stop'),
    *('drive up to the {o} and stop in front of it', 'move to the {o} and wait there'),
    *('approach the {o} and stop', 'find the {o} and stop', 'stop when you reach the {o}'),
    *('stop as soon as you are at the {o}', 'stop right in front of the {o}', 'halt at the {o}'),
    *('halt in front of the {o}', 'come to a stop at the {o}', 'stop beside the {o}'),
    *('go to the {o} and stay there', 'stop near the {o}', 'stop close to the {o}'),
    *(
        'drive until you are at the {o}, then stop',
        'stop before the {o}',
        'go on to the {o}, stop',
    ),
)
HELD_OUT_STOP_TEMPLATES = (
    *('go to the {o} and halt', 'drive to the {o} and stop there', 'halt next to the {o}'),
    *('stop once you are at the {o}', 'move up to the {o} and stop', 'come to a halt at the {o}'),
    *('go over to the {o}, then wait', 'head for the {o} and come to a stop there'),
)
TRAIN_MOTIONS = {
    FORWARD: (
        *(
            'move forward',
            'move forwards',
            'go forward',
            'go forwards',
            'drive forward',
            'forward',
        ),
        *('go straight', 'go straight ahead', 'drive straight', 'move ahead', 'advance', 'ahead'),
        *('keep going forward', 'keep moving forward', 'continue forward', 'walk forward'),
        *('move straight ahead', 'drive straight ahead', 'go ahead', 'step forward', 'full ahead'),
        *('move forward a bit', 'go forward a little', 'you can move forward', 'roll forwards'),
    ),
    BACK: (
        *('move back', 'move backward', 'move backwards', 'go back', 'go backward', 'reverse'),
        *('go backwards', 'drive backwards', 'drive backward', 'back up', 'back', 'backwards'),
        *('step back', 'walk backwards', 'keep going back', 'keep moving backwards'),
        *('drive in reverse', 'go in reverse', 'continue backwards', 'move back a bit'),
        *('back up a little', 'retreat', 'you can move back', 'roll backwards', 'reverse a bit'),
    ),
}
for _side in ('left', 'right'):
    _turn = 'counterclockwise' if _side == 'left' else 'clockwise'
    TRAIN_MOTIONS[f'turn {_side}'] = (
        *(f'turn {_side}', f'turn to the {_side}', f'rotate {_side}', f'rotate to the {_side}'),
        *(f'spin {_side}', f'spin to the {_side}', f'go {_side}', f'{_side}', f'{_side} turn'),
        *(
            f'make a {_side} turn',
            f'keep turning {_side}',
            f'turn {_side} a bit',
            f'steer {_side}',
        ),
        *(f'look {_side}', f'look to the {_side}', f'turn {_turn}', f'rotate {_turn}'),
        *(f'turn around to the {_side}', f'turn your head {_side}', f'you can turn {_side}'),
        *(f'turn a little to the {_side}', f'continue turning {_side}', f'move to the {_side}'),
    )
#: Motion -> how it is said, written down one by one.
SPOKEN_MOTIONS = {FORWARD: lines('forward'), BACK: lines('back')} | {
    f'turn {side}': tuple(text.format(side=side) for text in lines('turn'))
    for side in ('left', 'right')
}
HELD_OUT_MOTIONS = {
    FORWARD: ('drive ahead', 'travel forward', 'roll forward', 'proceed straight ahead'),
    BACK: ('drive back', 'roll back', 'travel backwards', 'go on backwards'),
    LEFT: ('pivot left', 'swing to the left', 'take a left turn', 'make a turn to the left'),
    RIGHT: ('pivot right', 'swing to the right', 'take a right turn', 'make a turn to the right'),
}
#: "go" + "over to" + "the {o}": many wordings matter more than many words.
_VERBS = ('go', 'drive', 'move', 'head', 'travel', 'walk', 'roll', 'hurry', 'navigate', 'ride')
_WAYS = (
    *('to', 'towards', 'toward', 'over to', 'up to', 'straight to', 'directly to', 'right to'),
    *('quickly to', 'slowly to', 'all the way to', 'back to', 'close to', 'near', 'next to'),
    *('as far as', 'in the direction of', 'until you are at', 'until you see', 'around to'),
    *('forward to', 'forward until you get to', 'along to', 'across to', 'beside'),
    *('right up beside', 'back until you find', 'on until you stand at', 'ahead to'),
)
_GOING = ('move', 'go', 'drive', 'walk', 'run', 'keep going', 'keep moving', 'keep driving')
_DIRECTIONS = {
    FORWARD: ('forward', 'forwards', 'straight', 'straight ahead', 'straight on', 'onward'),
    BACK: ('back', 'backward', 'backwards', 'in reverse', 'straight back'),
}
_TURNING = (
    *('turn', 'rotate', 'spin', 'keep turning', 'keep rotating', 'steer', 'turn around'),
    # "to the right" is a direction here, and part of a relation elsewhere.
    *('twist', 'veer', 'face', 'bear', 'wheel around', 'turn yourself', 'go round', 'revolve'),
)
_AMOUNTS = (
    '',
    '',
    '',
    ' a bit',
    ' a little',
    ' slowly',
    ' quickly',
    ' a little more',
    ' for a while',
)
_PREFIXES = (
    *(
        '',
        '',
        '',
        '',
        'please ',
        'now ',
        'ok ',
        'ok, ',
        'robot ',
        'robot, ',
        'hey robot, ',
        'hey ',
    ),
    *('can you ', 'could you ', 'could you please ', 'will you ', 'i want you to ', 'you should '),
    *(
        'i need you to ',
        "i'd like you to ",
        'your task is to ',
        'go ahead and ',
        'next, ',
        'just ',
    ),
)
_SUFFIXES = (
    '',
    '',
    '',
    '',
    '.',
    '!',
    ' please',
    ' now',
    ', please',
    ' right now',
    ' for me',
    ', ok?',
)
_ARTICLES = frozenset({'the', 'a', 'that'})
_MARKS = str.maketrans('', '', ',.!?')


@dataclass(frozen=True)
class Saying:
    """A sentence that is understood.

    Attributes:
        text: the sentence.
        colour: one of COLOURS; empty for a motion.
        shape: a key of NOUNS; empty for a motion.
        motion: one of MOTIONS; empty for a goal.
    """

    text: str
    colour: str = ''
    shape: str = ''
    motion: str = ''


def fill(template: str, colour: str, noun: str) -> str:
    """Put colour and noun into a template."""
    return template.format(o=f'{colour} {noun}', c=colour, n=noun)


def decorate(text: str, draw: random.Random) -> str:
    """Put words and marks around every other sentence that change nothing about it."""
    if draw.random() < 0.5:
        return text
    return f'{draw.choice(_PREFIXES)}{text}{draw.choice(_SUFFIXES)}'


def plain(text: str) -> str:
    """Leave out of a text what makes it no other one: articles, marks, capitals."""
    words = text.lower().translate(_MARKS).split()
    return ' '.join(word for word in words if word not in _ARTICLES)


_BEGINNINGS = frozenset(f'{plain(text)} ' for text in _PREFIXES if plain(text))
_ENDINGS = frozenset(f' {plain(text)}' for text in _SUFFIXES if plain(text))


def undecorated(text: str) -> set[str]:
    """Return what a text may be a decoration of, plain: itself, and what is inside of it."""
    found: set[str] = set()
    left = [plain(text)]
    while left:
        inner = left.pop()
        if inner not in found:
            found.add(inner)
            left += [inner.removeprefix(words) for words in _BEGINNINGS if inner.startswith(words)]
            left += [inner.removesuffix(words) for words in _ENDINGS if inner.endswith(words)]
    return found


def keeps_back(texts: Iterable[str]) -> Callable[[str], bool]:
    """Make the question whether a sentence is one of these texts, decorated or not.

    A sentence is stripped, the texts are not: "now find the red box" may be kept back while "find
    the red box" is trained on.
    """
    kept = {plain(text) for text in texts}
    return lambda text: not kept.isdisjoint(undecorated(text))


_PLAIN_HELD_OUT = frozenset(map(plain, HELD_OUT_TEMPLATES))


def draw_template(draw: random.Random) -> str:
    """Draw a template that may be trained on."""
    style = draw.random()
    if style < 0.4:
        return draw.choice(TRAIN_TEMPLATES if style < 0.3 else STOP_TEMPLATES)
    while True:
        template = draw.choice(SPOKEN_TEMPLATES) if style < 0.7 else _compose(draw)
        if plain(template) not in _PLAIN_HELD_OUT:
            return template


def _compose(draw: random.Random) -> str:
    article = draw.choice(('the', 'the', 'the', 'a', 'that'))
    return f'{draw.choice(_VERBS)} {draw.choice(_WAYS)} {article} {{o}}'


def draw_motion(motion: str, draw: random.Random) -> str:
    """Draw a wording of a motion that may be trained on."""
    style = draw.random()
    if style < 0.6:
        return draw.choice((TRAIN_MOTIONS if style < 0.3 else SPOKEN_MOTIONS)[motion])
    while True:
        if motion in _DIRECTIONS:
            text = f'{draw.choice(_GOING)} {draw.choice(_DIRECTIONS[motion])}'
        else:
            side = motion.split()[-1]
            text = f'{draw.choice(_TURNING)} {draw.choice((side, f"to the {side}"))}'
        if text not in HELD_OUT_MOTIONS[motion]:
            return text + draw.choice(_AMOUNTS)


def training_sayings(seed: int = 0, each: int = 160) -> list[Saying]:
    """Draw about `each` different sentences for every colour and noun, and more for a motion."""
    draw = random.Random(seed)
    held_out = keeps_back(saying.text for saying in held_out_sayings())
    sayings: dict[str, Saying] = {}

    def add(text: str, colour: str = '', shape: str = '', motion: str = '') -> None:
        if not held_out(text):
            sayings.setdefault(text, Saying(text, colour, shape, motion))

    for motion, texts in TRAIN_MOTIONS.items():
        for text in (*texts, *SPOKEN_MOTIONS[motion]):
            add(text, motion=motion)
            # "turn right now" may be heard as "right now": whether it is has to be tried.
            add(f'{text} now', motion=motion)
        # There are many words for few motions.
        for _ in range(3 * each):
            add(decorate(draw_motion(motion, draw), draw), motion=motion)
    for shape, nouns in NOUNS.items():
        for noun in nouns:
            for colour in COLOURS:
                add(f'go to the {colour} {noun}', colour, shape)
                for _ in range(each):
                    text = decorate(fill(draw_template(draw), colour, noun), draw)
                    add(text, colour, shape)
    return list(sayings.values())


def held_out_sayings() -> Iterator[Saying]:
    """Yield sentences from wordings that training never shows, with every colour and noun."""
    yield from held_out_motions()
    yield from held_out_goals(HELD_OUT_TEMPLATES + HELD_OUT_STOP_TEMPLATES)


def held_out_motions() -> Iterator[Saying]:
    """Yield the motions among them."""
    for motion, texts in HELD_OUT_MOTIONS.items():
        yield from (Saying(text, motion=motion) for text in texts)


def held_out_goals(templates: tuple[str, ...]) -> Iterator[Saying]:
    """Yield the goals that templates make."""
    for shape, nouns in NOUNS.items():
        for noun in nouns:
            for colour in COLOURS:
                for template in templates:
                    yield Saying(fill(template, colour, noun), colour, shape)
