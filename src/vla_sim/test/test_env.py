"""The Gymnasium interface."""

from gymnasium.utils.env_checker import check_env
import numpy as np

from vla_sim.env import GoToEnv
from vla_sim.expert import Expert


def test_gymnasium_accepts_the_environment():
    env = GoToEnv()
    check_env(env, skip_render_check=True)
    env.close()


def test_expert_earns_the_reward():
    env = GoToEnv(period=0.1)
    observation, info = env.reset(seed=3)
    target = env.arena.layout.objects[info['target']]
    assert info['instruction'] == f'go to the {target.name}'
    expert, terminated, total = Expert(env.arena.layout), False, 0.0
    for _ in range(400):
        speed, turn_rate, _ = expert.act(tuple(observation['state'][:3]), info['target'])
        observation, reward, terminated, truncated, info = env.step(np.array([speed, turn_rate]))
        total += reward
        if terminated or truncated:
            break
    assert terminated
    assert total == 1.0
    assert not info['contact']
    env.close()


def test_layouts_follow_each_other_without_a_seed():
    env = GoToEnv()
    assert env.reset(seed=5)[1]['seed'] == 5
    assert env.reset()[1]['seed'] == 6
    env.close()
