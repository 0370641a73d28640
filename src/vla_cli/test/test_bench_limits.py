"""What the machine could do at best, and how much work a network is."""

from math import prod

import numpy as np
import onnxruntime
import pytest

from vla_cli.bench import child, gemm, hop, limits, parts
from vla_cli.bench.report import Row
from vla_cli.bench.work import operations, work_of
from vla_core.errors import VlaError
from vla_core.policy import create_policy
from vla_core.types import Observation
from vla_ros.files import checkpoint_path


@pytest.mark.parametrize(
    ('kind', 'inputs', 'output', 'expected'),
    [
        ('MatMul', [[3, 5], [5, 7]], [3, 7], 2 * 3 * 5 * 7),
        ('MatMul', [[2, 4, 3, 5], [5, 7]], [2, 4, 3, 7], 2 * 2 * 4 * 3 * 5 * 7),
        ('MatMulInteger', [[3, 5], [5, 7]], [3, 7], 2 * 3 * 5 * 7),
        ('Gemm', [[3, 5], [7, 5], [7]], [3, 7], 2 * 3 * 5 * 7),
        ('Gemm', [[5, 3], [5, 7]], [3, 7], 2 * 3 * 5 * 7),
        # Nine taps of three channels for each number of the output.
        ('Conv', [[1, 3, 8, 8], [4, 3, 3, 3], [4]], [1, 4, 8, 8], 2 * 9 * 3 * 4 * 64),
        # Each channel for itself.
        ('Conv', [[1, 4, 8, 8], [4, 1, 3, 3]], [1, 4, 4, 4], 2 * 9 * 4 * 16),
        ('Relu', [[3, 5]], [3, 5], 0),
    ],
)
def test_operations_are_two_per_multiply_add(kind, inputs, output, expected):
    assert operations(kind, inputs, output) == expected


@pytest.mark.parametrize('kind', ['Einsum', 'QLinearConv', 'LSTM'])
def test_product_whose_work_is_not_known_is_refused(kind):
    with pytest.raises(VlaError, match=kind):
        operations(kind, [[3, 5], [5, 7]], [3, 7])


def test_work_of_a_graph_is_that_of_its_definition(tmp_path):
    onnx = pytest.importorskip('onnx')
    helper, generator = onnx.helper, np.random.default_rng(0)
    # onnxruntime fills channels up to whole vectors: 16 are.
    channels, wide, tall, kernel, width = 16, 10, 8, 3, 5

    def weight(name, *shape):
        array = generator.random(shape, np.float32)
        return onnx.numpy_helper.from_array(array, name)

    graph = helper.make_graph(
        [
            helper.make_node('Conv', ['x', 'w'], ['c'], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node('Relu', ['c'], ['r']),
            helper.make_node('Flatten', ['r'], ['f']),
            helper.make_node('Gemm', ['f', 'g'], ['y'], transB=1),
            helper.make_node('MatMul', ['y', 'm'], ['z']),
        ],
        'work',
        [helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, ['n', 3, tall, wide])],
        [helper.make_tensor_value_info('z', onnx.TensorProto.FLOAT, None)],
        [
            weight('w', channels, 3, kernel, kernel),
            weight('g', width, channels * tall * wide // 4),
            weight('m', width, 2),
        ],
    )
    path = tmp_path / 'work.onnx'
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.save(model, path)
    pixels = tall // 2 * (wide // 2)
    once = pixels * channels * 3 * kernel**2 + pixels * channels * width + width * 2
    for batch in (1, 3):
        feeds = {'x': np.zeros((batch, 3, tall, wide), np.float32)}
        found = work_of(path, feeds)
        assert found.operations == 2 * batch * once
        # Convolution and Relu are one node; Flatten moves nothing; where numbers lie in blocks of
        # channels, one more node puts them in order.
        numbers = channels * 3 * kernel**2 + width * channels * pixels + width * 2
        assert found.weights == 4 * numbers
        inside = 2 * channels * pixels
        moved = 4 * batch * (3 * tall * wide + inside + 2 * width + 2)
        assert found.activations in (moved, moved + 4 * batch * inside)


def test_work_of_the_demos_policy_is_what_its_onnx_says():
    onnx = pytest.importorskip('onnx')
    policy = create_policy('onnx', checkpoint_path('demo'))
    grey = Observation({'front': np.zeros((96, 192, 3), np.uint8)}, 0)
    path, feeds = policy.frame_graph(grey, policy.encode('go to the red box'))
    policy.close()
    found = work_of(path, feeds)
    # Another way: every value of the graph as an output, the products by their definition.
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.op_type in ('Conv', 'Gemm', 'MatMul')]
    wanted = {name for node in products for name in (*node.input[:2], *node.output)}
    inside = {name for node in model.graph.node for name in node.output}
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in sorted(wanted & inside - present)
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    names = [output.name for output in session.get_outputs()]
    shapes = {
        name: value.shape for name, value in zip(names, session.run(names, feeds), strict=True)
    }
    shapes |= {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    shapes |= {name: value.shape for name, value in feeds.items()}
    expected = 0
    for node in products:
        first, second = (shapes[name] for name in node.input[:2])
        out = shapes[node.output[0]]
        if node.op_type == 'Conv':
            expected += 2 * prod(out) * second[1] * second[2] * second[3]
        else:
            turned = any(one.name == 'transA' and one.i for one in node.attribute)
            expected += 2 * prod(out) * first[-2 if turned else -1]
    assert len(products) > 20
    assert found.operations == expected
    # Stored as float16, read as float32.
    assert found.weights == pytest.approx(2 * path.stat().st_size, rel=0.05)
    assert found.activations > feeds['image'].nbytes


def test_inference_says_its_share_of_the_limit(monkeypatch):
    monkeypatch.setattr(gemm, 'throughput', lambda threads, count: [50.0] * count)
    row = parts.inference('demo', 5)
    work, limit = row.notes['work of a frame, MFLOP'], row.notes['limit, GFLOP/s']
    assert limit == 50.0
    assert work > 100.0
    median = float(np.median(row.samples))
    assert row.notes['share of the limit'] == pytest.approx(work / median / limit, abs=1e-3)
    assert 'share of the limit' not in parts.inference('hold', 5).notes


@pytest.mark.parametrize(('copied', 'larger'), [(40.0, 'products'), (0.1, 'memory')])
def test_inference_says_which_bound_is_the_larger_one(monkeypatch, copied, larger):
    monkeypatch.setattr(gemm, 'throughput', lambda threads, count: [50.0] * count)
    monkeypatch.setattr(parts, 'copy_row', lambda count: Row('', '', [0.5 * copied, copied]))
    notes = parts.inference('demo', 5).notes
    moved = notes['weights of a frame, MB'] + notes['activations of a frame, MB']
    assert notes['limit of a copy, GB/s'] == copied
    assert notes['bound by memory, ms'] == pytest.approx(moved / copied, rel=0.01)
    work = notes['work of a frame, MFLOP']
    assert notes['bound by products, ms'] == pytest.approx(work / 50.0, rel=0.01)
    assert notes['larger bound'] == larger


def test_products_are_timed_on_the_threads_asked_for(monkeypatch):
    asked = []
    run = child.subprocess.run

    def noted(command, env, **others):
        asked.append(env['OPENBLAS_NUM_THREADS'])
        return run(command, env=env, **others)

    monkeypatch.setattr(child.subprocess, 'run', noted)
    row = limits.gemm_row(1, 3)
    assert (row.name, asked) == ('limit_gemm_1_thread', ['1'])
    assert len(row.samples) == 3
    assert min(row.samples) > 0.0
    assert row.more_is_better


def test_products_that_fail_are_reported(monkeypatch):
    monkeypatch.setattr(child.sys, 'executable', '/bin/false')
    with pytest.raises(VlaError, match='ended with 1'):
        gemm.throughput(1, 3)


def test_copy_counts_what_is_read_and_what_is_written(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(limits.time, 'perf_counter', lambda: float(next(ticks)))
    row = limits.copy_row(4, size=500_000_000 // 1000)
    assert row.samples == [pytest.approx(1e-3)] * 4


@pytest.mark.parametrize('kind', hop.KINDS)
def test_message_comes_back_from_another_process(kind):
    row = limits.hop_row(kind, 5)
    assert row.name == f'limit_hop_{kind}'
    assert len(row.samples) == 5
    assert min(row.samples) > 0.0


def test_hop_without_the_other_process_is_reported(monkeypatch):
    monkeypatch.setattr(hop, '_PATIENCE', 0.1)
    monkeypatch.setattr(hop.sys, 'executable', '/bin/false')
    with pytest.raises(VlaError, match='hop of a chunk ended with 1'):
        hop.round_trips('chunk', 1)
