from setuptools import find_packages, setup

setup(
    name='vla_replay',
    version='0.1.0',
    description='Record, replay and judge drives; bags without rosbag2',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_replay']),
        ('share/vla_replay', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': ['recorder = vla_replay.recorder_node:main'],
        'vla.commands': [
            'bag = vla_replay.cli:bag',
            'demo = vla_replay.cli:demo',
            'play = vla_replay.cli:play',
            'record = vla_replay.cli:record',
            'replay = vla_replay.cli:replay',
        ],
        'vla.measurements': [
            'camera = vla_replay.measuring_camera:measurements',
            'recorder = vla_replay.measuring:measurements',
            'zone = vla_replay.measuring_zone:measurements',
            'replay = vla_replay.measuring_replay:measurements',
        ],
    },
    zip_safe=False,
)
