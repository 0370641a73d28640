"""Wordings that judge releases: neither trained on nor counted when a policy is chosen.

Standard library only, like `wording`. They were written once, without asking any policy; none may
be taken out because a policy fails it. Once they have helped to choose one, they are spent.
"""

from __future__ import annotations

import random

from vla_learning.sim.relations import NEAREST, RELATIONS, say, SIDES, TALL
from vla_learning.sim.wording import BACK, FORWARD, LEFT, RIGHT

#: {o} stands for colour and noun.
JUDGING_TEMPLATES = (
    *(
        'meet me at the {o}',
        'i want to see you at the {o}',
        'get over to the {o}',
        'be at the {o}',
    ),
    *('position yourself next to the {o}', 'make for the {o}', 'pay a visit to the {o}'),
    *('aim for the {o}', 'your next stop is the {o}', 'pull up alongside the {o}'),
    *('spot the {o} and drive there', 'where is the {o}? drive up to it', 'hunt for the {o}'),
    *('track down the {o}', 'home in on the {o}', 'cruise over to the {o}', 'set off for the {o}'),
    *('would you mind driving to the {o}', 'send yourself to the {o}', 'close in on the {o}'),
    *('bring yourself to the {o}', 'the {o} is where you should go', 'make a trip to the {o}'),
    *('the {o} is your destination', 'i would love to see you next to the {o}'),
    *('it is time to go to the {o}', 'start driving to the {o}', 'take yourself to the {o}'),
    *('you need to get to the {o}', 'see if you can reach the {o}', 'we need you at the {o}'),
    *('get as close to the {o} as you can', 'your job is to reach the {o}'),
    *('drive yourself over to the {o}', 'would it be possible to go to the {o}'),
    *('from here, drive to the {o}', 'there should be a {o} around here, go to it'),
    *('go to whichever {n} is {c}', 'a {n} in {c} is what you are looking for'),
)
JUDGING_STOP_TEMPLATES = (
    *('go to the {o} and come to rest', 'pull up at the {o} and stop', 'finish at the {o}'),
    *('drive over to the {o} and park', 'make a stop at the {o}', 'end up at the {o}'),
    *(
        'once you get to the {o}, stop',
        'when you are at the {o}, halt',
        'reach the {o}, then halt',
    ),
    *('your drive ends at the {o}', 'come to rest next to the {o}', 'stop yourself at the {o}'),
    *('drive to the {o} and remain there', 'head to the {o} and stay put'),
    *('move towards the {o} and stop just before it', 'keep going and stop at the {o}'),
    *('get to the {o} and hold there', 'roll up to the {o} and stand still'),
    *('bring yourself to a stop in front of the {o}', 'go to the {o} and park there'),
)
JUDGING_MOTIONS = {
    FORWARD: (
        *('proceed forward', 'head straight on', 'roll straight ahead', 'creep forward'),
        'take a few steps forward',
    ),
    BACK: ('back away', 'drive rearwards', 'put it in reverse', 'scoot back', 'reverse slowly'),
    LEFT: (
        *('hang a left', 'rotate anticlockwise', 'head left', 'turn toward your left'),
        'swivel to the left',
    ),
    RIGHT: (
        *('make a right', 'take a right', 'turn rightwards', 'spin around clockwise'),
        'rotate yourself towards the right',
    ),
}
#: {s} is what is meant, {a} what it is beside, {side} one of SIDES.
JUDGING_PHRASES = {
    SIDES: (
        *('{s} immediately {side} of the {a}', '{s} over on the {side} of the {a}'),
        *('{s} that sits to the {side} of the {a}', '{s} off to the {side} of the {a}'),
        *('{s} that you can see to the {side} of the {a}', '{s} placed {side} of the {a}'),
        *('{s} next to the {a} on the {side}', "{s} on the {a}'s {side}"),
    ),
    (NEAREST,): (
        *('{s} with the shortest distance to you', '{s} that is least far away', '{s} closest by'),
        *('{s} which is the nearest one', '{s} which is nearest to where you are'),
        *('most nearby {s}', '{s} that is the shortest way from you'),
    ),
    (TALL,): (
        *('{s} that stands tallest', '{s} with the greatest height', 'tallest {s} you can see'),
        *('{s} that is higher than the rest', '{s} that towers over the others'),
        *('tallest {s} around', '{s} which is highest'),
    ),
}
JUDGING_NONSENSE = (
    # Unknown colours, things and places.
    *('go to the mauve box', 'find the teal ball', 'drive to the bronze cylinder'),
    *('head to the lilac cube', 'go to the red sofa', 'find the blue bucket', 'drive to berlin'),
    *('drive to the green ladder', 'approach the yellow suitcase', 'move to the purple helmet'),
    *('look for the orange kitten', 'go to the printer', 'drive to the coffee machine'),
    *('find the fire extinguisher', 'go to the nurse', 'take me to the train station'),
    *('find my wallet', 'head for the parking lot', 'go to the second floor'),
    # Other tasks with things that are known.
    *('grab the red ball', 'bring the blue cube over here', 'put the green box on the shelf'),
    *('knock over the yellow pillar', 'wrap the purple box', 'hand me the orange ball'),
    *('slide the red block aside', 'sit on the blue cube', 'polish the red sphere'),
    *('inspect the green cylinder for damage', 'bounce the yellow ball', 'weigh the purple cube'),
    # Questions about them.
    *('how heavy is the red box', 'is the green ball bigger than the blue one'),
    *('what shape is the yellow thing', 'did you see the purple pillar'),
    *('why are you next to the orange cube', 'how far away is the blue box'),
    *('are there any green balls', 'which one is closer, the red box or the blue ball'),
    *('who put the red cylinder there', 'can you see the yellow block'),
    # Negations.
    *("don't go to the green ball", 'keep away from the red box', "don't turn left"),
    *('stay clear of the blue cylinder', 'you must not drive to the yellow cube'),
    *('avoid going to the purple ball', 'under no circumstances move forward'),
    'anything but the red box',
    # Words of motions that mean something else.
    *('turn off the oven', 'turn the volume down', 'she moved forward with her plans'),
    *('the meeting was moved back an hour', 'nothing left to say', 'you were right all along'),
    *('give it back', 'look forward to the holidays', 'head count please', 'go for it'),
    *('drive a hard bargain', 'back to square one', 'move heaven and earth'),
    'a step in the right direction',
    # Other tasks.
    *('bake a cake', 'dust the shelves', 'set the table', 'fix the printer', 'boil some eggs'),
    *('answer the door', "walk the neighbour's dog", 'start the dishwasher', 'stir the soup'),
    *('empty the mailbox', 'read me a bedtime story', 'take a photo of us', 'raise the blinds'),
    *('hang the picture on the wall', 'unplug the toaster'),
    # Talk.
    *('what is your favourite film', 'tell me about your day', 'i will be late tonight'),
    *('my knee hurts', 'merry christmas', 'sorry about that', 'well done', 'lunch is ready'),
    *('how was your weekend', 'the meeting starts at noon', 'we ran out of milk'),
    *('it is getting cold', 'you look nice today', 'long time no see', 'i lost my keys'),
    *('they moved to australia', 'she turned forty last week', 'that was funny'),
    *('nobody knows', 'excuse me', 'what is the square root of nine', 'who wrote hamlet'),
    *('how deep is the ocean', 'how do you spell rhythm', 'convert ten miles to kilometres'),
    *('name three rivers in africa', 'wubba lubba dub', 'krrsht pfft', 'uh', 'hmm'),
    *('9 8 7 6 5', 'git push origin main', 'sudo apt install'),
)
#: Things of which a phrase is said.
_RELATIONS_PER_PHRASE = 6


def judging_relations() -> dict[str, list[str]]:
    """Return phrase -> sentences: each phrase in a frame of its own, of several things."""
    draw = random.Random(0)
    phrases = [(kinds, phrase) for kinds, texts in JUDGING_PHRASES.items() for phrase in texts]
    frames = [template for template in JUDGING_TEMPLATES if 'the {o}' in template]
    sentences: dict[str, list[str]] = {}
    for (kinds, phrase), frame in zip(phrases, frames, strict=False):
        choices = [relation for relation in RELATIONS if relation.kind in kinds]
        meant = draw.sample(choices, _RELATIONS_PER_PHRASE)
        sentences[phrase] = [
            frame.format(o=say(one, phrase.replace('{side}', one.kind), draw)) for one in meant
        ]
    return sentences
