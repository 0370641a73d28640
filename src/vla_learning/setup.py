from pathlib import Path

from setuptools import find_packages, setup

setup(
    name='vla_learning',
    version='0.1.0',
    description='Model, data, training, evaluation and export of the learned policy',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    package_data={'vla_learning': ['report/*.j2', 'sim/spoken/*.txt']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_learning']),
        ('share/vla_learning', ['package.xml']),
        ('share/vla_learning/experiments', sorted(map(str, Path('experiments').glob('*.yaml')))),
    ],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': ['vla-learn = vla_learning.cli:main'],
        'vla.policies': ['native = vla_learning.native_policy:create'],
    },
    zip_safe=False,
)
