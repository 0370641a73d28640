from setuptools import find_packages, setup

setup(
    name='vla_cli',
    version='0.1.0',
    description='The commands: vla, vla_up and the doctor',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    package_data={'vla_cli.faults': ['base.launch.xml']},
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_cli']),
        ('share/vla_cli', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': ['vla = vla_cli.main:main', 'vla_up = vla_cli.up:main'],
        'vla.policies': ['faulty = vla_cli.faults.policy:create'],
    },
    zip_safe=False,
)
