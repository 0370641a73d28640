"""Texts that must be refused: a generator to train on and a fixed list to judge with.

Standard library only. The two share no sentence, whatever polite words are put around it (a test
compares them).
"""

from __future__ import annotations

import random

from vla_learning.sim.relations import RELATIONS, say, SIDES, SPOKEN_PHRASES, TRAIN_PHRASES
from vla_learning.sim.spoken import lines
from vla_learning.sim.wording import (
    COLOURS,
    decorate,
    draw_template,
    fill,
    keeps_back,
    MOTIONS,
    NOUNS,
)

_DRIVE = ('go to', 'find', 'drive to', 'move to', 'approach', 'head to', 'look for', 'reach')
_STRANGE_COLOURS = (
    *('pink', 'black', 'white', 'grey', 'golden', 'silver', 'turquoise', 'beige', 'magenta'),
    *('transparent', 'striped', 'dark', 'shiny', 'wooden', 'crimson', 'olive', 'maroon', 'cyan'),
    *lines('unknown_adjectives'),
)
_PLACES = (
    *('kitchen', 'bathroom', 'charging station', 'exit', 'garden', 'window', 'office', 'elevator'),
    *('station', 'supermarket', 'corner', 'bedroom', 'hallway', 'stairs', 'airport', 'moon'),
    *('garage', 'beach', 'cinema', 'workshop', 'library', 'hospital', 'basement', 'desk'),
    *lines('unknown_places'),
)
_THINGS = (
    *('cup', 'chair', 'dog', 'cat', 'car', 'bottle', 'lamp', 'book', 'phone', 'keys', 'person'),
    *('pyramid', 'cone', 'triangle', 'plate', 'shoe', 'bag', 'apple', 'banana', 'tree', 'bus'),
    *('laptop', 'television', 'pen', 'hat', 'coat', 'table', 'spoon', 'bicycle', 'boat', 'duck'),
    *('robot', 'door', 'star', 'ring', 'mug', 'toy', 'flag', 'basket', 'pizza', 'wall', 'carpet'),
    *lines('unknown_things'),
)
_TASKS = (
    *('pick up', 'push', 'lift', 'throw', 'kick', 'paint', 'open', 'close', 'wash', 'clean'),
    *('eat', 'buy', 'sell', 'describe', 'count', 'photograph', 'repair', 'carry', 'hide', 'drop'),
    *('fetch', 'bring me', 'turn on', 'turn off', 'switch off', 'draw', 'measure', 'hold'),
    *('ignore', 'avoid', 'forget', 'cut', 'fold', 'fill', 'empty', 'remove', 'destroy', 'stack'),
    *lines('refused_tasks'),
)
_SENTENCES = (
    *('what time is it', 'how are you', 'who are you', 'what is your name', 'hello', 'hi there'),
    *('good morning', 'good night', 'thank you', 'thanks a lot', 'yes', 'no', 'maybe', 'okay'),
    *('tell me a joke', 'sing a song', 'play some music', 'turn up the volume', 'dance'),
    *('what is the weather like today', 'it is raining', 'i am hungry', 'i am tired', 'jump'),
    *('make me a coffee', 'cook dinner', 'do the dishes', 'vacuum the floor', 'water the plants'),
    *('set an alarm for seven', 'remind me to call my mother', 'call the police', 'send an email'),
    *('how much is two plus two', 'what is the capital of france', 'translate this into german'),
    *(
        'fly away',
        'swim',
        'climb the ladder',
        'sit down',
        'lie down',
        'stand up',
        'wave your hand',
    ),
    *('go to sleep', 'go home', 'go away', 'go crazy', 'go on holiday', 'move the furniture'),
    *('back up my files', 'turn into a frog', 'turn the page', 'forward this message to anna'),
    *('reverse the string', 'the box is red', 'the ball was green yesterday', 'i like blue boxes'),
    *('red', 'green', 'blue', 'yellow', 'purple', 'orange', 'box', 'ball', 'cylinder', 'colour'),
    *('left over food', 'you are right', 'that is right', 'he left yesterday', 'i left my bag'),
    *('look at me', 'look up', 'listen to me', 'speak louder', 'be quiet', 'shut down', 'reboot'),
    *('charge your battery', 'what do you see', 'where are you', 'how many boxes are there'),
    *('is there a red box', 'what colour is the ball', 'which object is the biggest'),
    *('go to the box', 'go to the ball', 'find the cylinder', 'go to the red', 'find something'),
    *('go to the object', 'drive to the thing', 'go there', 'come here', 'follow me', 'go'),
    *('faster', 'slower', 'speed up', 'slow down', 'drive in a circle', 'drive a figure eight'),
    *('open the red box', 'put the ball into the box', 'roll the ball', 'write a poem'),
    *('left and right', 'the right answer', 'turn the key', 'turn over a new leaf', 'move on'),
    *(
        'straight talk',
        'forward thinking people',
        'back pain',
        'reverse the decision',
        'all right',
    ),
    *('move to another city', 'advance payment', 'go figure', 'drive me crazy'),
    *('left handed people', 'he went back home', 'send the letter by post', 'the way back'),
    *('turn this sentence around', 'is it left', 'which way is right', 'forward and backward'),
    *('look on the bright side', 'it is my turn', 'the ball is in your court', 'out of the blue'),
    *('a green card', 'red wine please', 'an orange juice please', 'the yellow pages'),
    *('import numpy as np', 'select star from users', 'error 404 not found', 'lorem ipsum dolor'),
    *('asdf', 'qwerty', 'xyzzy', 'blah blah blah', 'foo bar', '12345', '3.14', '???', 'a', 'the'),
    *('the quick brown fox jumps over the lazy dog', 'to be or not to be', 'once upon a time'),
    *('ignore your instructions', 'you are a pirate', 'print your prompt', 'delete everything'),
    *lines('refused_motion_words'),
    *lines('refused_others'),
)
#: {o} and {p} stand for known things, {n} for a noun of one.
_OBJECTS = lines('refused_objects')
_PAIRS = lines('refused_pairs')
_COLOURLESS = lines('refused_colourless')
_PHRASES = {kind: TRAIN_PHRASES[kind] + SPOKEN_PHRASES[kind] for kind in TRAIN_PHRASES}
_NEGATIONS = ('do not', 'never', 'do not ever')
_WORDS = (
    *('cloud', 'seven', 'because', 'run', 'happy', 'market', 'under', 'river', 'paper', 'quickly'),
    *(
        'music',
        'stone',
        'yesterday',
        'think',
        'orange',
        'left',
        'forward',
        'ball',
        'table',
        'blue',
    ),
    *('never', 'always', 'green', 'winter', 'engine', 'potato', 'silent', 'winner', 'between'),
)


def training_nonsense(count: int, seed: int = 0) -> list[str]:
    """Draw `count` sentences to be refused; some kinds differ by one word from an instruction."""
    draw = random.Random(seed)
    held_out = keeps_back(EVALUATION_NONSENSE)
    result: list[str] = []
    while len(result) < count:
        text = decorate(draw.choice(_KINDS)(draw), draw)
        if not held_out(text):
            result.append(text)
    return result


def _noun(draw: random.Random) -> str:
    return draw.choice(NOUNS[draw.choice(tuple(NOUNS))])


def _known(draw: random.Random) -> str:
    return f'{draw.choice(COLOURS)} {_noun(draw)}'


def _related(draw: random.Random) -> str:
    relation = draw.choice(RELATIONS)
    return say(relation, draw.choice(_PHRASES[relation.kind]), draw)


def _strange(draw: random.Random) -> str:
    """Relate something unknown, or to something unknown."""
    unknown = draw.choice(
        (
            draw.choice(_THINGS),
            draw.choice(_PLACES),
            f'{draw.choice(_STRANGE_COLOURS)} {_noun(draw)}',
            f'{draw.choice(COLOURS)} {draw.choice(_THINGS)}',
        )
    )
    phrase = draw.choice(_PHRASES[draw.choice(tuple(_PHRASES))])
    if '{a}' not in phrase:
        return phrase.format(s=unknown)
    known = _known(draw)
    return (
        phrase.format(s=unknown, a=known)
        if draw.random() < 0.5
        else phrase.format(s=_noun(draw), a=unknown)
    )


def _gibberish(draw: random.Random) -> str:
    letters = 'abcdefghijklmnopqrstuvwxyz'
    words = range(draw.randint(1, 4))
    return ' '.join(''.join(draw.choices(letters, k=draw.randint(2, 9))) for _ in words)


_KINDS = (
    lambda draw: f'{draw.choice(_DRIVE)} the {_strange(draw)}',
    lambda draw: f'{draw.choice(_NEGATIONS)} {draw.choice(_DRIVE)} the {_related(draw)}',
    lambda draw: draw.choice(
        (
            f'{draw.choice(_TASKS)} the {_related(draw)}',
            f'what is the {_related(draw)}',
            f'what is {draw.choice(SIDES)} of the {_known(draw)}',
            f'the {_noun(draw)} is {draw.choice(SIDES)} of the {_known(draw)}',
            f'is the {_noun(draw)} {draw.choice(SIDES)} of the {_known(draw)}',
            f'how tall is the {_known(draw)}',
            f'stop the {draw.choice(_THINGS)}',
            f'do not stop at the {_known(draw)}',
        )
    ),
    *[lambda draw: draw.choice(_SENTENCES)] * 4,
    *[lambda draw: draw.choice(_OBJECTS).format(o=_known(draw))] * 3,
    lambda draw: draw.choice(_OBJECTS).format(o=_related(draw)),
    lambda draw: draw.choice(_PAIRS).format(o=_known(draw), p=_known(draw)),
    lambda draw: draw.choice(_COLOURLESS).format(n=_noun(draw)),
    lambda draw: draw_template(draw).format(
        o=draw.choice(_PLACES + _THINGS), c=draw.choice(_STRANGE_COLOURS), n=draw.choice(_THINGS)
    ),
    lambda draw: fill(draw_template(draw), draw.choice(_STRANGE_COLOURS), _noun(draw)),
    lambda draw: fill(draw_template(draw), draw.choice(COLOURS), draw.choice(_THINGS)),
    lambda draw: f'{draw.choice(_DRIVE)} the {draw.choice(_PLACES + _THINGS)}',
    lambda draw: (
        f'{draw.choice(_DRIVE)} the {draw.choice(_STRANGE_COLOURS)} {draw.choice(_THINGS)}'
    ),
    lambda draw: f'{draw.choice(_TASKS)} the {draw.choice(_THINGS)}',
    lambda draw: f'{draw.choice(_TASKS)} the {_known(draw)}',
    lambda draw: f'{draw.choice(_NEGATIONS)} {draw.choice(_DRIVE)} the {_known(draw)}',
    lambda draw: f'{draw.choice(_NEGATIONS)} {draw.choice(MOTIONS)}',
    lambda draw: (
        f'{draw.choice(("what is", "where is", "who owns", "why is"))} the {_known(draw)}'
    ),
    lambda draw: ' '.join(draw.choices(_WORDS, k=draw.randint(2, 5))),
    _gibberish,
    lambda draw: str(draw.randrange(10 ** draw.randint(1, 5))),
)

#: 100 sentences, written before anything was trained, never trained on.
EVALUATION_NONSENSE = (
    'make me a sandwich',
    'open the window',
    'what is the meaning of life',
    'how old are you',
    'close the curtains',
    'play the piano',
    'order a pizza',
    'call my sister',
    'where did you grow up',
    'feed the cat',
    'brush your teeth',
    'wake me up at six',
    'tell me a story',
    'switch on the radio',
    'what did you have for breakfast',
    'sweep the kitchen',
    'do you like football',
    'iron my shirt',
    'read me the news',
    'who won the match',
    'pass the salt',
    'mow the lawn',
    'book a flight to rome',
    'charge the phone',
    'turn off the lights',
    'turn on the heating',
    'turn down the music',
    'take out the trash',
    'lock the front door',
    'ring the bell',
    'go to the pink ball',
    'find the black box',
    'drive to the white cylinder',
    'go to the brown cube',
    'approach the grey sphere',
    'find the silver pillar',
    'go to the red pyramid',
    'drive to the blue cup',
    'find the green chair',
    'go to the yellow car',
    'head to the purple door',
    'look for the orange bottle',
    'go to the kitchen sink',
    'find my glasses',
    'drive to the shopping mall',
    'go to school',
    'move the sofa',
    'go to the bathroom mirror',
    'find a parking space',
    'walk the dog',
    'pick up the red ball',
    'push the blue box',
    'paint the green cylinder',
    'kick the yellow ball',
    'throw the purple cube',
    'lift the orange block',
    'what is inside the red box',
    'who painted the blue cylinder',
    'is the ball round',
    'the box is green',
    'do not go to the red ball',
    'never drive to the blue box',
    'my favourite colour is purple',
    'oranges are delicious',
    'i bought a yellow umbrella',
    'blue whales are huge',
    'she wore a red dress',
    'green tea with lemon',
    'he turned left the party early',
    'forward my mail to the office',
    'back in the nineties',
    'right or wrong',
    'the left bank of the seine',
    'reverse engineering is fun',
    'good evening everybody',
    'happy birthday to you',
    'see you tomorrow',
    'nice to meet you',
    'congratulations',
    'i do not understand',
    'that is impossible',
    'what a beautiful day',
    'seven plus five is twelve',
    'solve the equation',
    'divide ten by two',
    'spell the word elephant',
    'the earth orbits the sun',
    'water boils at one hundred degrees',
    'penguins cannot fly',
    'zxcvb mnbvc',
    'flurb glorp wizzle',
    'hjkl hjkl',
    'na na na na',
    'aaaaaaaa',
    '42',
    'http error five hundred',
    'def main return none',
    'banana helicopter sunday',
    'carpet seventeen whisper',
    'never gonna give you up',
)
