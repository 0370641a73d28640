from setuptools import find_packages, setup

setup(
    name='vla_replay',
    version='0.1.0',
    description='Bags: the flight recorder, a crash-safe writer, a reader and tools',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_replay']),
        ('share/vla_replay', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['recorder = vla_replay.recorder_node:main']},
    zip_safe=False,
)
