"""What a variant does otherwise than the network it was made of.

Shape legend: N frames, H horizon, D axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

from vla_core.parity import AxisError, RESOLUTION
from vla_core.policy import Policy
from vla_core.types import Intent, PolicySpec
from vla_learning import grounding
from vla_learning.asking import ask_all, Listener
from vla_learning.bootstrap import Estimate, estimate, proportion
from vla_learning.drives import drive, tasks
from vla_learning.optimise.probe import Probe

#: Share of the frames on which "done" may be decided otherwise: it is a threshold, and frames at
#: rest in front of the object lie on both sides of it.
_DECISIONS = 0.02
#: Pictures of the probe with all their questions, for the grounding score.
_SCENES = 40


@dataclass(frozen=True)
class Behaviour:
    """What a policy does beyond single frames.

    Attributes:
        score: grounding score with its interval; NaN without scenes.
        reached: episodes that ended at the named object.
        episodes: driven; 0 where no simulator applies.
    """

    score: Estimate
    reached: int
    episodes: int

    def loss(self, reference: Behaviour) -> str:
        """Say what is worse than chance lets the reference be; empty if nothing is."""
        least = reference.score.low
        # Without an interval nothing was asked.
        if not math.isnan(least) and not self.score.value >= least:
            return (
                f'grounding score {self.score.value:.3g}: expected at least {least:.3g}, the '
                f'lower end of the interval of {reference.score.value:.3g}'
            )
        if self.episodes:
            low, _ = proportion(reference.reached, reference.episodes)
            if self.reached < low * self.episodes:
                return (
                    f'{self.reached} of {self.episodes} episodes reached: expected at least '
                    f'{low * self.episodes:.1f}, the lower end of the interval of '
                    f'{reference.reached}'
                )
        return ''


@dataclass(frozen=True)
class Answers:
    """What a policy says to all frames of a probe.

    Attributes:
        actions: float64 [N, H, D] in SI units.
        done: bool [N], whether it says that the instruction is fulfilled.
        intents: text -> what kind of sentence it is taken for.
    """

    actions: np.ndarray
    done: np.ndarray
    intents: Mapping[str, Intent]

    def otherwise(self, reference: Answers) -> str:
        """Say what is decided otherwise than by the reference; empty if next to nothing is."""
        for text, intent in reference.intents.items():
            if self.intents[text] is not intent:
                return (
                    f'{text!r} is taken for {self.intents[text].name}: expected {intent.name}, '
                    'as by the reference'
                )
        changed = int((self.done != reference.done).sum())
        if changed > _DECISIONS * len(self.done):
            return (
                f'done is decided otherwise on {changed} of {len(self.done)} frames: expected at '
                f'most {100 * _DECISIONS:g} %'
            )
        return ''


def answers_of(policy: Policy, probe: Probe) -> Answers:
    """Ask a policy about all frames of a probe."""
    slot = policy.spec.cameras[0].name
    languages = {text: policy.encode(text) for text in dict.fromkeys(probe.texts)}
    found = [
        policy.infer(probe.observation(number, slot), languages[probe.text(number)])
        for number in range(len(probe))
    ]
    actions = np.clip(np.stack([one.actions for one in found]), -1.0, 1.0)
    return Answers(
        policy.spec.to_si(actions),
        np.array([one.done > 0.5 for one in found]),
        {text: language.intent for text, language in languages.items()},
    )


def axis_errors(
    expected: np.ndarray, found: np.ndarray, spec: PolicySpec
) -> Mapping[str, AxisError]:
    """Compare actions [N, H, D] axis by axis."""
    difference = np.abs(found - expected)
    # A difference that is no number is no small one; JSON and YAML have finite ones.
    difference = np.nan_to_num(difference, nan=1e9, posinf=1e9)
    errors = {}
    for number, name in enumerate(spec.action_names):
        axis = difference[..., number]
        least = RESOLUTION * abs(spec.action_scale[number])
        errors[name] = AxisError(
            unit=spec.action_units[number],
            mean=float(axis.mean()),
            rms=float(np.sqrt((axis**2).mean())),
            max=float(axis.max()),
            deviation=max(float(np.sqrt(expected[..., number].var(axis=0).mean())), least),
        )
    return errors


def behaviour(policy: Policy, probe: Probe, seed: int, episodes: int) -> Behaviour:
    """Ask for the grounding score, and drive.

    Args:
        policy: who is judged.
        probe: its scenes are asked about.
        seed: of the first layout.
        episodes: to drive; 0: none.
    """
    score = Estimate(math.nan, math.nan, math.nan, 0)
    if probe.scenes:
        answers = ask_all(Listener(policy), probe.scenes[:_SCENES]).answers
        score = estimate(grounding.measures(answers)['score'])
    reached = sum(_drive(policy, seed, episodes)) if episodes else 0
    return Behaviour(score, reached, episodes)


def _drive(policy: Policy, seed: int, episodes: int) -> list[bool]:
    from vla_learning.sim.closed_loop import Driver

    driver = Driver(policy)  # type: ignore[arg-type]  # any policy with its methods
    try:
        return [drive(driver, task).success for task in tasks(seed, episodes, 0)]
    finally:
        driver.close()
