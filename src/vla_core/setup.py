from setuptools import find_packages, setup

setup(
    name='vla_core',
    version='0.1.0',
    description='Types, policy protocol, gate rules, chunk player, image operations, errors',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_core']),
        ('share/vla_core', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={
        'vla.policies': [
            'hold = vla_core.policy:create_hold',
            'scripted = vla_core.scripted:create_scripted',
        ]
    },
    zip_safe=False,
)
