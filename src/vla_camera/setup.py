from setuptools import find_packages, setup

setup(
    name='vla_camera',
    version='0.1.0',
    description='Camera node: driver image to the size and mode that the checkpoint asks for',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_camera']),
        ('share/vla_camera', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['camera = vla_camera.camera_node:main']},
    zip_safe=False,
)
