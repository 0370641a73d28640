import random
import re
import subprocess
import sys

import pytest

from vla_core.text import is_stop_word
from vla_learning.sim.judging import (
    JUDGING_MOTIONS,
    JUDGING_NONSENSE,
    JUDGING_PHRASES,
    judging_relations,
    JUDGING_STOP_TEMPLATES,
    JUDGING_TEMPLATES,
)
from vla_learning.sim.nonsense import EVALUATION_NONSENSE, training_nonsense
from vla_learning.sim.relations import HELD_OUT_PHRASES, held_out_relations, training_relations
from vla_learning.sim.spoken import lines
from vla_learning.sim.wording import (
    COLOURS,
    draw_motion,
    draw_template,
    fill,
    held_out_sayings,
    HELD_OUT_STOP_TEMPLATES,
    HELD_OUT_TEMPLATES,
    keeps_back,
    MOTIONS,
    NOUNS,
    plain,
    TRAIN_MOTIONS,
    training_sayings,
    undecorated,
)


def test_held_out_sentences_are_never_trained_on():
    trained = {saying.text.lower() for saying in training_sayings()}
    assert not trained & {saying.text.lower() for saying in held_out_sayings()}


def test_evaluation_nonsense_is_never_trained_on():
    trained = set(training_nonsense(5000)) | {saying.text for saying in training_sayings()}
    assert not trained & set(EVALUATION_NONSENSE)


def test_no_sentence_is_both_instruction_and_nonsense():
    instructions = {saying.text for saying in training_sayings()}
    instructions |= {saying.text for saying in held_out_sayings()}
    assert not instructions & set(training_nonsense(5000))


@pytest.mark.parametrize(
    'text',
    [
        'please go to the red pyramid',
        'Go to the red pyramid!',
        'ok, robot, could you please go to a red pyramid right now',
        'go to that red pyramid, please',
    ],
)
def test_politeness_articles_and_marks_make_no_other_sentence(text):
    assert keeps_back(['go to the red pyramid'])(text)


@pytest.mark.parametrize('text', ['go to the pyramid', 'find the red box', 'go to the red cup'])
def test_another_sentence_is_not_kept_back(text):
    assert not keeps_back(['go to the red pyramid', 'now find the red box'])(text)


def test_no_decoration_of_a_held_out_sentence_is_trained_on():
    kept = keeps_back([*EVALUATION_NONSENSE, *(saying.text for saying in held_out_sayings())])
    trained = [saying.text for saying in training_sayings()] + training_nonsense(8000)
    assert not [text for text in trained if kept(text)]


def test_no_held_out_template_is_drawn_with_another_article():
    draw = random.Random(0)
    drawn = {draw_template(draw) for _ in range(20_000)}
    other = {'{v} the {{o}}', '{v} a {{o}}', '{v} that {{o}}'}
    held_out = {form.format(v=verb) for form in other for verb in ('go up to', 'move over to')}
    assert not drawn & held_out


def test_there_are_one_hundred_different_nonsense_sentences():
    assert len(set(EVALUATION_NONSENSE)) == 100


def test_every_sentence_names_what_it_means():
    for saying in (*training_sayings(), *held_out_sayings()):
        if saying.motion:
            assert saying.motion in MOTIONS
        else:
            assert saying.colour in saying.text
            assert any(noun in saying.text for noun in NOUNS[saying.shape])


def test_every_object_and_motion_is_trained():
    sayings = list(training_sayings())
    assert {(s.colour, s.shape) for s in sayings if not s.motion} == {
        (colour, shape) for colour in COLOURS for shape in NOUNS
    }
    assert {s.motion for s in sayings if s.motion} == set(TRAIN_MOTIONS) == set(MOTIONS)


def test_same_seed_gives_the_same_sentences():
    assert list(training_sayings(3)) == list(training_sayings(3))
    assert training_nonsense(50, 3) == training_nonsense(50, 3)


def test_wordings_need_no_third_party_package():
    program = (
        'import sys; import vla_learning.sim.judging, vla_learning.sim.nonsense; '
        "print(sorted({'torch', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == '[]'


def test_held_out_templates_have_places_for_colour_and_noun():
    for template in HELD_OUT_TEMPLATES:
        assert '{o}' in template or ('{c}' in template and '{n}' in template)


def judged() -> list[str]:
    """Return what judges releases; templates said of the red box."""
    goals = [fill(text, 'red', 'box') for text in JUDGING_TEMPLATES + JUDGING_STOP_TEMPLATES]
    motions = [text for texts in JUDGING_MOTIONS.values() for text in texts]
    relations = [text for texts in judging_relations().values() for text in texts]
    return goals + motions + relations + list(JUDGING_NONSENSE)


def test_no_judged_wording_is_trained_on_or_counted_in_choosing():
    """Not even one that is the same but for politeness, articles and marks."""
    draw = random.Random(0)
    known = {fill(draw_template(draw), 'red', 'box') for _ in range(20_000)}
    known |= {draw_motion(motion, draw) for motion in MOTIONS for _ in range(2000)}
    known |= {saying.text for saying in (*training_sayings(), *held_out_sayings())}
    known |= {text for text, _ in (*training_relations(0, 30), *held_out_relations())}
    known |= {*training_nonsense(20_000), *EVALUATION_NONSENSE}
    inner = set().union(*map(undecorated, known))
    assert not [text for text in judged() if not inner.isdisjoint(undecorated(text))]


def nothing_named(text: str) -> str:
    """Leave out of a text which known things it names."""
    nouns = '|'.join(noun for names in NOUNS.values() for noun in names)
    text = re.sub(rf'\b({"|".join(COLOURS)}) ({nouns})\b', '{o}', text)
    return re.sub(rf'\b({nouns})\b', '{n}', text).replace('{p}', '{o}')


def test_no_line_is_a_judged_or_chosen_one_with_another_thing():
    phrases = [p for texts in JUDGING_PHRASES.values() for p in texts]
    phrases += [
        re.sub(r'\b(left|right)\b', '{side}', phrase)
        for texts in HELD_OUT_PHRASES.values()
        for phrase in texts
    ]
    for name in ('side_phrases', 'nearest_phrases', 'tall_phrases'):
        assert not set(map(plain, lines(name))) & set(map(plain, phrases))
    templates = {*JUDGING_TEMPLATES, *JUDGING_STOP_TEMPLATES, *HELD_OUT_TEMPLATES}
    kept = keeps_back(templates | {*HELD_OUT_STOP_TEMPLATES})
    assert not [
        text for name in ('goals', 'relation_frames') for text in lines(name) if kept(text)
    ]
    kept = keeps_back(map(nothing_named, (*JUDGING_NONSENSE, *EVALUATION_NONSENSE)))
    refused = [f'{task} the {{o}}' for task in lines('refused_tasks')]
    for name in ('objects', 'pairs', 'colourless', 'motion_words', 'others'):
        refused += map(nothing_named, lines(f'refused_{name}'))
    assert not list(filter(kept, refused))


def test_no_text_is_taught_two_ways():
    intents: dict[str, set[str]] = {}
    said = [(s.text, s.motion or 'goal') for s in training_sayings()]
    said += [(text, 'goal') for text, _ in training_relations()]
    said += [(text, 'refused') for text in training_nonsense(16_000)]
    for text, intent in said:
        intents.setdefault(text.lower().strip(' .,!?'), set()).add(intent)
    assert not {text: found for text, found in intents.items() if len(found) > 1}


def test_judged_wordings_are_instructions_to_the_policy():
    assert not list(filter(is_stop_word, judged()))
    assert set(JUDGING_MOTIONS) == set(MOTIONS)
    phrases = [phrase for texts in JUDGING_PHRASES.values() for phrase in texts]
    assert list(judging_relations()) == phrases
    for texts in (JUDGING_TEMPLATES + JUDGING_STOP_TEMPLATES, phrases, JUDGING_NONSENSE):
        assert len(set(texts)) == len(texts)
