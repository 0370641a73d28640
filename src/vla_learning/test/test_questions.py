"""What is asked: the expert's answers in the simulator, the recorded ones elsewhere."""

from collections import Counter
from dataclasses import replace
import json

import numpy as np
from PIL import Image
import pytest

from vla_core.policy import HoldPolicy, native_spec
from vla_core.types import NATIVE_AXES, Representation
from vla_learning.answers import EvaluationError, Kind
from vla_learning.asking import ask_all, Listener, open_policy
from vla_learning.questions import recorded, simulated
from vla_learning.sim.wording import COLOURS, NOUNS
from vla_sim.expert import Expert
from vla_sim.layout import sample_layout

SEED = 500_003
FORWARD, TURN = NATIVE_AXES.index('linear.x'), NATIVE_AXES.index('angular.z')


@pytest.fixture(scope='module')
def scenes():
    spec = replace(native_spec('x'), action_scale=(0.5, 1, 1, 1, 1, 2.0, 1))
    return list(simulated(spec, [SEED], 2))


def test_every_object_is_asked_for_in_four_wordings_and_nonsense_besides(scenes):
    layout = sample_layout(SEED)
    assert len(scenes) == 2
    for scene in scenes:
        assert scene.group == SEED
        assert scene.image.shape == (96, 192, 3)
        kinds = Counter(question.kind for question in scene.questions)
        assert kinds[Kind.INSTRUCTION] == 4 * len(layout.objects)
        assert kinds[Kind.EMPTY] == 1
        assert kinds[Kind.NONSENSE] == 2
        for question in scene.questions:
            if question.kind is Kind.INSTRUCTION:
                item = layout.objects[question.meaning]
                assert question.topic == item.name
                assert item.colour in question.text
                assert any(noun in question.text for noun in NOUNS[item.shape])
            else:
                assert not question.valid.any()


def test_the_answer_is_the_experts_in_native_units(scenes):
    layout = sample_layout(SEED)
    for question in scenes[0].questions[: 4 * len(layout.objects)]:
        speed, turn_rate, _ = Expert(layout).act(layout.start, question.meaning)
        assert question.target[0, FORWARD] == pytest.approx(speed / 0.5)
        assert question.target[0, TURN] == pytest.approx(turn_rate / 2.0)
        assert question.valid[:, [FORWARD, TURN]].all()
        assert question.valid.sum() == 2 * len(question.valid)


def test_asking_twice_asks_the_same(scenes):
    again = list(simulated(native_spec('x'), [SEED], 2))
    for one, other in zip(scenes, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert [q.text for q in one.questions] == [q.text for q in other.questions]


def test_a_policy_of_another_kind_is_refused():
    spec = replace(native_spec('arm'), representation=Representation.DELTA)
    with pytest.raises(EvaluationError, match=r'arm cannot be asked in the simulator.*DELTA'):
        next(simulated(spec, [SEED], 1))


@pytest.fixture
def recording(tmp_path):
    records = []
    for number in range(8):
        Image.new('RGB', (64, 48), (number * 20, 0, 0)).save(tmp_path / f'{number}.png')
        records.append(
            {
                'image_path': f'{number}.png',
                'language_instruction': f'fetch {COLOURS[number // 2]}',
                'action': [0.1 * number, 0, 0, 0, 0, -0.1 * number, 0],
                'episode': number // 2,
            }
        )
    path = tmp_path / 'records.json'
    path.write_text(json.dumps(records))

    def opened(spec, **options):
        pytest.importorskip('torch')
        from vla_learning.data.source import Recorded, RecordedSource, View

        data = Recorded(path, fps=1 / spec.step_dt, cache=False, **options)
        split = 'validation' if options['validation_share'] else 'all'
        return RecordedSource(data, View.of(spec), 1, split)

    return opened


def test_recordings_are_asked_for_what_was_said_and_for_other_things(recording):
    spec = native_spec('x')
    scenes = list(recorded(spec, recording(spec, validation_share=0.0), 8, 0))
    assert [scene.group for scene in scenes] == [0, 0, 1, 1, 2, 2, 3, 3]
    for row, scene in enumerate(scenes):
        own = f'fetch {COLOURS[row // 2]}'
        said = [q for q in scene.questions if q.kind is Kind.INSTRUCTION]
        assert [q.text for q in said if q.valid.any()] == [own]
        assert {q.text for q in said if q.meaning == 0} == {
            *(own, f'please {own}', f'{own}, please', f'robot, {own}')
        }
        assert len({q.meaning for q in said}) == 4
        assert said[0].target[0, FORWARD] == pytest.approx(0.1 * row)
        # The recording goes on for two frames at most.
        assert said[0].valid[:, FORWARD].sum() == 2 - row % 2


def test_fewer_pictures_are_a_seeded_choice(recording):
    spec = native_spec('x')
    chosen = [
        [
            scene.image[0, 0, 0]
            for scene in recorded(spec, recording(spec, validation_share=0.0), 3, seed)
        ]
        for seed in (0, 0, 1)
    ]
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1] != chosen[2]


def test_only_what_training_kept_back_is_asked_about(recording):
    spec = native_spec('x')
    scenes = list(recorded(spec, recording(spec, validation_share=0.25), 8, 0))
    assert len({scene.group for scene in scenes}) == 1
    assert len(scenes) == 2


def test_a_policy_with_state_cannot_be_asked_about_recordings(recording):
    spec = native_spec('x')
    source = recording(spec, validation_share=0.0)
    with pytest.raises(EvaluationError, match='arm wants 1 cameras and state'):
        next(recorded(replace(spec, model_id='arm', state_names=('s',)), source, 8, 0))


def test_a_policy_that_holds_answers_zero_to_everything(scenes):
    asked = ask_all(Listener(HoldPolicy(native_spec('hold'))), scenes)
    assert len(asked.answers) == sum(len(scene.questions) for scene in scenes)
    assert not asked.answers.predicted.any()
    assert asked.answers.axes.tolist() == [FORWARD, TURN]
    assert (asked.answers.seconds > 0).all()
    assert len(asked.scenes) == 2


def test_only_what_was_never_heard_before_is_timed(scenes, monkeypatch):
    from vla_learning import asking

    monkeypatch.setattr(asking, '_REMEMBERED', 1)
    asked = ask_all(Listener(HoldPolicy(native_spec('hold'))), [*scenes, *scenes])
    assert len(asked.encoding) == len({q.text for scene in scenes for q in scene.questions})


def test_a_policy_without_ablation_cannot_be_blind():
    with pytest.raises(EvaluationError, match='hold cannot be made blind'):
        Listener(HoldPolicy(native_spec('hold')), blind=True)


def test_unknown_policies_are_named(tmp_path):
    from vla_core.errors import ConfigError

    with pytest.raises(ConfigError, match=r"expected one of \[.*'hold'.*folder with manifest"):
        open_policy(str(tmp_path))
