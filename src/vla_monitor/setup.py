from setuptools import find_packages, setup

setup(
    name='vla_monitor',
    version='0.1.0',
    description='Monitor node: rates, ages and latencies of every hop',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_monitor']),
        ('share/vla_monitor', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={'console_scripts': ['monitor = vla_monitor.monitor_node:main']},
    zip_safe=False,
)
