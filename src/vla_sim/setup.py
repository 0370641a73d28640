from setuptools import find_packages, setup

setup(
    name='vla_sim',
    version='0.1.0',
    description='A robot to drive: MuJoCo, headless, with or without ROS',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_sim']),
        ('share/vla_sim', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['sim = vla_sim.sim_node:main']},
    zip_safe=False,
)
