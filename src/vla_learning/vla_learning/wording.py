"""What people may say: sentences to train on, and others, never trained on, to judge with.

Standard library only, so that an evaluator without torch or numpy can import it.

An instruction is understood when it names one of six colours and three shapes, or one of four
motions. A known object that is not there is understood (the robot searches and reports
NOT_FOUND); an unknown colour or thing ("the pink pyramid"), a negation and any task other than
driving are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import random

COLOURS = ('red', 'green', 'blue', 'yellow', 'purple', 'orange')
#: Shape of the simulator -> what people call it.
NOUNS = {
    'box': ('box', 'cube', 'block'),
    'ball': ('ball', 'sphere'),
    'cylinder': ('cylinder', 'pillar', 'column'),
}
FORWARD, BACK, LEFT, RIGHT = MOTIONS = ('move forward', 'move back', 'turn left', 'turn right')

#: {o} stands for colour and noun.
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
HELD_OUT_MOTIONS = {
    FORWARD: ('drive ahead', 'travel forward', 'roll forward', 'proceed straight ahead'),
    BACK: ('drive back', 'roll back', 'travel backwards', 'go on backwards'),
    LEFT: ('pivot left', 'swing to the left', 'take a left turn', 'make a turn to the left'),
    RIGHT: ('pivot right', 'swing to the right', 'take a right turn', 'make a turn to the right'),
}
_DECORATIONS = (
    '{}.',
    '{}!',
    'please {}',
    '{} please',
    '{} now',
    'robot, {}',
    'ok {}',
    '{}, please.',
)


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


def training_sayings(seed: int = 0) -> Iterator[Saying]:
    """Yield every training sentence plainly and once decorated ("please ...", "... now")."""
    draw = random.Random(seed)

    def both(text: str) -> tuple[str, str]:
        return text, draw.choice(_DECORATIONS).format(text)

    for motion, texts in TRAIN_MOTIONS.items():
        for text in texts:
            yield from (Saying(form, motion=motion) for form in both(text))
    for shape, nouns in NOUNS.items():
        for noun in nouns:
            for colour in COLOURS:
                for template in TRAIN_TEMPLATES:
                    for form in both(fill(template, colour, noun)):
                        yield Saying(form, colour, shape)


def held_out_sayings() -> Iterator[Saying]:
    """Yield sentences from wordings that training never shows, with every colour and noun."""
    for motion, texts in HELD_OUT_MOTIONS.items():
        yield from (Saying(text, motion=motion) for text in texts)
    for shape, nouns in NOUNS.items():
        for noun in nouns:
            for colour in COLOURS:
                for template in HELD_OUT_TEMPLATES:
                    yield Saying(fill(template, colour, noun), colour, shape)
