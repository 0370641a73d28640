"""What a policy is asked: pictures, and for each picture sentences, most with a known answer.

From the simulator (the expert knows the answer to every object's name) or from recordings (the
recorded action answers the recorded sentence).

Shape legend: H horizon, D axes, K objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
import random
from typing import TYPE_CHECKING

import numpy as np

from vla_core.preprocess import resize
from vla_core.types import PolicySpec, Representation
from vla_learning.answers import EvaluationError, Kind
from vla_learning.sim.frames import sample_pose
from vla_learning.sim.nonsense import EVALUATION_NONSENSE
from vla_learning.sim.wording import fill, HELD_OUT_TEMPLATES, NOUNS, TRAIN_TEMPLATES
from vla_sim.arena import Arena
from vla_sim.expert import Expert
from vla_sim.layout import sample_layout

if TYPE_CHECKING:
    from vla_learning.data.source import RecordedSource

#: Axis and unit of the expert's forward speed and turn rate.
SIMULATED_AXES = {'linear.x': 'm/s', 'angular.z': 'rad/s'}
#: Wordings of each object: half of them from templates that are never trained on.
_WORDINGS = (TRAIN_TEMPLATES, HELD_OUT_TEMPLATES, TRAIN_TEMPLATES, HELD_OUT_TEMPLATES)
#: Ways of saying the same that fit any sentence.
_POLITE = ('{}', 'please {}', '{}, please', 'robot, {}')
#: Sentences of other recordings that each recorded picture is asked with as well.
_SWAPS = 3
_NONSENSE_PER_SCENE = 2


@dataclass(frozen=True)
class Question:
    """One sentence about a picture.

    Attributes:
        kind: what it is.
        meaning: number of the instruction within the scene; wordings of one instruction share it.
        text: the sentence.
        target: [H, D], native; 0 where it is not known.
        valid: bool [H, D].
        topic: what it names, such as "red ball"; may be empty.
    """

    kind: Kind
    meaning: int
    text: str
    target: np.ndarray
    valid: np.ndarray
    topic: str = ''


@dataclass(frozen=True)
class Scene:
    """One picture and what is asked about it.

    Attributes:
        group: layout or recording.
        image: uint8 [h, w, 3], of the size of the policy's slot.
        questions: about it.
    """

    group: int
    image: np.ndarray
    questions: tuple[Question, ...]


def misfit(spec: PolicySpec) -> str:
    """Say why a policy cannot drive the simulated robot; empty if it can."""
    units = dict(zip(spec.action_names, spec.action_units, strict=True))
    if len(spec.cameras) != 1 or spec.state_names:
        return f'it wants {len(spec.cameras)} cameras and state {spec.state_names}'
    if spec.representation is not Representation.VELOCITY:
        return f'its actions are {spec.representation.name}'
    lacking = [name for name, unit in SIMULATED_AXES.items() if units.get(name) != unit]
    return f'it has no {lacking[0]} in {SIMULATED_AXES[lacking[0]]}' if lacking else ''


def simulated(spec: PolicySpec, seeds: Iterable[int], pictures: int) -> Iterator[Scene]:
    """Ask for every object of every layout, from the start and from random places.

    Args:
        spec: contract of the policy that is asked.
        seeds: of the layouts.
        pictures: per layout.

    Raises:
        EvaluationError: if the policy cannot drive the simulated robot.
    """
    problem = misfit(spec)
    if problem:
        raise EvaluationError(
            f'{spec.model_id} cannot be asked in the simulator: {problem}: expected one camera, '
            f'no state and velocities {SIMULATED_AXES}; or recordings (--data)'
        )
    columns = [spec.action_names.index(name) for name in SIMULATED_AXES]
    scale = np.array(spec.action_scale)[columns]
    valid = np.zeros((spec.horizon, len(spec.action_names)), bool)
    valid[:, columns] = True
    arena = Arena()
    try:
        for seed in seeds:
            layout = sample_layout(seed)
            arena.reset(layout)
            places = np.random.default_rng(seed)
            poses = [layout.start, *(sample_pose(places, layout) for _ in range(pictures - 1))]
            expert, draw = Expert(layout), random.Random(f'questions {seed}')
            for pose in poses:
                arena.place(*pose)
                image = resize(arena.render(), spec.cameras[0])
                questions: list[Question] = []
                for number, item in enumerate(layout.objects):
                    chunk, _ = expert.chunk(pose, number, spec.horizon, spec.step_dt)
                    target = np.zeros(valid.shape)
                    target[:, columns] = np.clip(chunk / scale, -1.0, 1.0)
                    for templates in _WORDINGS:
                        noun = draw.choice(NOUNS[item.shape])
                        text = fill(draw.choice(templates), item.colour, noun)
                        questions.append(
                            Question(Kind.INSTRUCTION, number, text, target, valid, item.name)
                        )
                questions += _senseless(draw, valid.shape)
                yield Scene(seed, image, tuple(questions))
    finally:
        arena.close()


def recorded(
    spec: PolicySpec, source: RecordedSource, pictures: int, seed: int
) -> Iterator[Scene]:
    """Ask for what was said when each picture was taken, in other words, and for other things.

    Args:
        spec: contract of the policy that is asked.
        source: the data set as this policy sees it, one frame per batch, in order.
        pictures: how many are drawn, at most.
        seed: of the draw.

    Raises:
        EvaluationError: if the policy wants more than one camera.
        DataError: if a picture cannot be read.
    """
    if len(spec.cameras) != 1 or spec.state_names:
        raise EvaluationError(
            f'{spec.model_id} wants {len(spec.cameras)} cameras and state {spec.state_names}: '
            'expected one camera and no state for recordings'
        )
    recording, draw = source.recording, random.Random(f'questions {seed}')
    for step in sorted(draw.sample(range(source.samples), min(pictures, source.samples))):
        batch = source.batch(step)
        own, target, valid = batch.text[0], batch.actions[0].numpy(), batch.valid[0].numpy()
        others = sorted(text for text in recording.texts if text.strip() and text != own)
        swapped = draw.sample(others, min(_SWAPS, len(others)))
        unknown = np.zeros_like(valid)
        questions = []
        for number, text in enumerate((own, *swapped)):
            for form in _POLITE:
                taught = valid if number == 0 and form == _POLITE[0] else unknown
                questions.append(
                    Question(Kind.INSTRUCTION, number, form.format(text), target * taught, taught)
                )
        questions += _senseless(draw, valid.shape)
        episode, _ = recording.episode_of(int(batch.rows[0]))
        yield Scene(episode, batch.image[0].numpy(), tuple(questions))


def _senseless(draw: random.Random, shape: Sequence[int]) -> list[Question]:
    """Nothing at all, and sentences that no robot can obey."""
    unknown = np.zeros(shape), np.zeros(shape, bool)
    nonsense = draw.sample(EVALUATION_NONSENSE, _NONSENSE_PER_SCENE)
    return [
        Question(Kind.EMPTY, 0, '', *unknown),
        *(Question(Kind.NONSENSE, n, text, *unknown) for n, text in enumerate(nonsense)),
    ]
