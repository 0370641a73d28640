from setuptools import find_packages, setup

setup(
    name='vla_inference',
    version='0.1.0',
    description='Policy node: images and an instruction to action chunks',
    license='Apache-2.0',
    maintainer='VLA workspace maintainers',
    maintainer_email='maintainers@example.org',
    packages=find_packages(exclude=['test', 'test.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/vla_inference']),
        ('share/vla_inference', ['package.xml']),
    ],
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': ['policy = vla_inference.policy_node:main'],
        'vla.policies': [
            'onnx = vla_inference.onnx_policy:create',
            'openvino = vla_inference.openvino_policy:create',
        ],
    },
    zip_safe=False,
)
