"""Make lerobot_image and lerobot_video; needs `lerobot` 0.4.4, no part of this workspace."""

from pathlib import Path
import shutil

from lerobot.datasets.lerobot_dataset import LeRobotDataset
import numpy as np

HERE = Path(__file__).parent
EPISODES = ((5, 'go to the red box'), (4, 'turn left'), (3, 'go to the red box'))


def frames(episode, count):
    """Yield picture, state and action of each frame: the formulas that test_lerobot.py knows."""
    for k in range(count):
        y, x = np.mgrid[0:48, 0:64]
        planes = ((4 * x + 10 * k) % 256, (5 * y + 40 * episode) % 256, np.full_like(x, 60))
        image = np.stack(planes, -1).astype(np.uint8)
        image[20:28, 4 * k : 4 * k + 8] = (230, 20, 20)
        state = np.array([0.1 * k, 0.2 * episode], np.float32)
        yield image, state, np.array([0.25 * k - 0.5, 0.3 * (episode - 0.5)], np.float32)


def make(kind, root):
    """Write one data set with pictures as `image` or `video`."""
    shutil.rmtree(root, ignore_errors=True)
    size = {'shape': (48, 64, 3), 'names': ['height', 'width', 'channels']}
    data = LeRobotDataset.create(
        'local/tiny',
        fps=10,
        features={
            'observation.images.front': {'dtype': kind, **size},
            'observation.state': {'dtype': 'float32', 'shape': (2,), 'names': ['x', 'y']},
            'action': {'dtype': 'float32', 'shape': (2,), 'names': ['linear.x', 'angular.z']},
        },
        root=root,
        robot_type='toy',
        use_videos=kind == 'video',
    )
    for episode, (count, task) in enumerate(EPISODES):
        for image, state, action in frames(episode, count):
            values = {'observation.state': state, 'action': action, 'task': task}
            data.add_frame({'observation.images.front': image, **values})
        data.save_episode()
    data.finalize()


if __name__ == '__main__':
    for kind in ('image', 'video'):
        make(kind, HERE / f'lerobot_{kind}')
