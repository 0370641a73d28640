from setuptools import find_packages, setup

setup(
    name='vla_safety',
    version='0.1.0',
    description='Gate node: the only writer of cmd_vel',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_safety']),
        ('share/vla_safety', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['gate = vla_safety.gate_node:main']},
    zip_safe=False,
)
