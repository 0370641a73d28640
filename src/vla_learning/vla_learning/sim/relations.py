"""What people may say of one thing by way of another: relations, and the words for them.

Standard library only, like `wording`. What a relation means in a picture is in `referents`, and in
docs/explanation/relations.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import random

from vla_learning.sim.spoken import lines
from vla_learning.sim.wording import (
    COLOURS,
    decorate,
    draw_template,
    HELD_OUT_TEMPLATES,
    keeps_back,
    NOUNS,
    TRAIN_TEMPLATES,
)

LEFT, RIGHT, NEAREST, TALL = RELATION_KINDS = ('left', 'right', 'nearest', 'tall')
SIDES = (LEFT, RIGHT)
_THINGS = ('thing', 'object', 'one')
_HELD_OUT_THING = 'item'

#: {s} is what is meant, {a} what it is beside.
TRAIN_PHRASES = {
    side: (
        *(f'{{s}} {side} of the {{a}}', f'{{s}} to the {side} of the {{a}}'),
        *(f'{{s}} on the {side} of the {{a}}', f'{{s}} on the {side} side of the {{a}}'),
        *(f'{{s}} that is {side} of the {{a}}', f'{{s}} which is to the {side} of the {{a}}'),
        *(f"{{s}} that's on the {side} of the {{a}}", f'{{s}} just {side} of the {{a}}'),
        *(f'{{s}} standing {side} of the {{a}}', f'{{s}} standing to the {side} of a {{a}}'),
        *(f'{{s}} you see {side} of the {{a}}', f'{{s}} at the {side} of the {{a}}'),
    )
    for side in SIDES
} | {
    NEAREST: (
        *('nearest {s}', 'closest {s}', 'nearest {s}', 'closest {s}', 'nearest {s} of all'),
        *('{s} that is nearest to you', '{s} that is closest to you', '{s} closest to you'),
        *('{s} nearest to you', '{s} which is nearest', '{s} that is the closest'),
        *('{s} nearest to the robot', '{s} closest to the robot', 'very nearest {s}'),
    ),
    TALL: (
        *('tall {s}', 'tallest {s}', 'tall {s}', 'highest {s}', 'high {s}', 'tallest {s} of all'),
        *(
            '{s} that is tall',
            '{s} that is the tallest',
            '{s} which is tallest',
            'really tall {s}',
        ),
    ),
}
HELD_OUT_PHRASES = {
    side: (
        *(f'{{s}} on the {side} hand side of the {{a}}', f'{{s}} located {side} of the {{a}}'),
        *(f'{{s}} which stands {side} of the {{a}}', f'{{s}} directly to the {side} of the {{a}}'),
    )
    for side in SIDES
} | {
    NEAREST: ('{s} that is nearest', '{s} which is closest to you', 'nearest {s} to you'),
    TALL: ('{s} which is the tallest', 'very tall {s}', '{s} that is the highest'),
}
#: Kind -> phrases that were written down one by one.
SPOKEN_PHRASES = {
    side: tuple(text.replace('{side}', side) for text in lines('side_phrases')) for side in SIDES
} | {NEAREST: lines('nearest_phrases'), TALL: lines('tall_phrases')}
_FRAMES = tuple(t for t in TRAIN_TEMPLATES if 'the {o}' in t)
_SPOKEN_FRAMES = lines('relation_frames')
_HELD_OUT_FRAMES = tuple(t for t in HELD_OUT_TEMPLATES if 'the {o}' in t)


@dataclass(frozen=True)
class Relation:
    """A thing named by how it stands to others, or among its like.

    Attributes:
        kind: one of RELATION_KINDS.
        colour: of what is meant; empty: any.
        shape: of what is meant, a key of NOUNS; empty: any.
        anchor: colour and shape of what it is beside; empty unless the kind is one of SIDES.
    """

    kind: str
    colour: str = ''
    shape: str = ''
    anchor: tuple[str, str] | tuple[()] = ()

    @property
    def mirrored(self) -> Relation:
        """The relation that a mirrored picture shows."""
        if self.kind not in SIDES:
            return self
        other = RIGHT if self.kind == LEFT else LEFT
        return Relation(other, self.colour, self.shape, self.anchor)


def _relations() -> Iterator[Relation]:
    shapes = [('', shape) for shape in NOUNS]
    colours = [(colour, '') for colour in COLOURS]
    for kind in SIDES:
        for colour, shape in shapes + colours:
            for anchor in ((c, s) for c in COLOURS for s in NOUNS):
                # "the red thing left of the red box" is nothing that people say.
                if colour != anchor[0]:
                    yield Relation(kind, colour, shape, anchor)
    for colour, shape in [*shapes, *colours, ('', '')]:
        yield Relation(NEAREST, colour, shape)
    # In layouts v1 objects of one shape are equally tall, but for chance: no "tall box".
    for colour, shape in [*colours, ('', '')]:
        yield Relation(TALL, colour, shape)


#: All that are understood, in the order in which sentences number them.
RELATIONS = tuple(_relations())


def say(relation: Relation, phrase: str, draw: random.Random, held_out: bool = False) -> str:
    """Put words for the relation's things into a phrase."""
    thing = _HELD_OUT_THING if held_out else draw.choice(_THINGS)
    noun = draw.choice(NOUNS[relation.shape]) if relation.shape else thing
    subject = f'{relation.colour} {noun}'.strip()
    anchor = ''
    if relation.anchor:
        colour, shape = relation.anchor
        anchor = f'{colour} {draw.choice(NOUNS[shape])}'
    return phrase.format(s=subject, a=anchor)


def training_relations(seed: int = 0, each: int = 160) -> list[tuple[str, Relation]]:
    """Draw about `each` different sentences for every relation, a sixth if it has an anchor."""
    draw = random.Random(seed)
    held_out = keeps_back(text for text, _ in held_out_relations())
    sentences: dict[str, Relation] = {}
    for relation in RELATIONS:
        written, spoken = TRAIN_PHRASES[relation.kind], SPOKEN_PHRASES[relation.kind]
        for _ in range(max(1, each // 6) if relation.anchor else each):
            phrases = written if draw.random() < 0.5 else spoken
            template = draw.choice(_FRAMES if draw.random() < 0.5 else _SPOKEN_FRAMES)
            if draw.random() < 0.4:
                while '{o}' not in (template := draw_template(draw)):
                    continue
            text = template.format(o=say(relation, draw.choice(phrases), draw))
            text = decorate(text, draw)
            if not held_out(text):
                sentences.setdefault(text, relation)
    return list(sentences.items())


def draw_relation(relation: Relation, held_out: bool, draw: random.Random) -> str:
    """Draw a sentence; held out: phrase and frame were never trained on, nor was "item"."""
    phrases = HELD_OUT_PHRASES if held_out else TRAIN_PHRASES
    frame = draw.choice(_HELD_OUT_FRAMES if held_out else _FRAMES)
    return frame.format(o=say(relation, draw.choice(phrases[relation.kind]), draw, held_out))


def held_out_relations() -> Iterator[tuple[str, Relation]]:
    """Yield sentences from wordings that training never shows: every phrase in every frame."""
    for sentences in held_out_phrases().values():
        yield from sentences


def held_out_phrases() -> dict[str, list[tuple[str, Relation]]]:
    """Return phrase -> these sentences."""
    draw = random.Random(0)
    found: dict[str, list[tuple[str, Relation]]] = {}
    for kind, phrases in HELD_OUT_PHRASES.items():
        choices = [relation for relation in RELATIONS if relation.kind == kind]
        for phrase in phrases:
            meant = found[phrase] = []
            for frame in _HELD_OUT_FRAMES:
                relation = draw.choice(choices)
                text = frame.format(o=say(relation, phrase, draw, held_out=True))
                meant.append((text, relation))
    return found
