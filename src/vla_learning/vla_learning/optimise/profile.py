"""Where the time of a frame goes in an exported checkpoint: by kind of operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import json
from pathlib import Path
import tempfile

import numpy as np
import onnxruntime

from vla_core.manifest import load_manifest, Manifest
from vla_inference.onnx_policy import POLICY_FILE

_FRAMES, _WARM_UP = 20, 3
_WORDS = 6


def profile(folder: Path) -> dict[str, float]:
    """Run the graph of a checkpoint on a grey picture, and add up what its nodes take.

    Args:
        folder: of policy `onnx` or `openvino`; its manifest says how it is run.

    Returns:
        Share of the time by kind of operation, the largest first; of OpenVINO with the type in
        which it was computed.
    """
    manifest = load_manifest(folder)
    nodes = _openvino if manifest.policy == 'openvino' else _onnxruntime
    spent: Counter[str] = Counter()
    for kind, duration in nodes(manifest):
        spent[kind] += duration
    total = max(sum(spent.values()), 1)
    return {kind: duration / total for kind, duration in spent.most_common()}


def _openvino(manifest: Manifest) -> Iterator[tuple[str, int]]:
    import openvino

    runtime = manifest.runtime
    options = {
        'INFERENCE_PRECISION_HINT': runtime.precision,
        'INFERENCE_NUM_THREADS': runtime.threads,
        'PERF_COUNT': True,
    }
    model = openvino.Core().compile_model(manifest.folder / POLICY_FILE, 'CPU', options)
    request = model.create_infer_request()
    shapes = {
        p.any_name: [d.get_length() if d.is_static else _WORDS for d in p.partial_shape]
        for p in model.inputs
    }
    inputs = {
        p.any_name: np.full(shapes[p.any_name], 1, p.element_type.to_dtype()) for p in model.inputs
    }
    for number in range(_WARM_UP + _FRAMES):
        request.infer(inputs)
        if number >= _WARM_UP:
            for node in request.profiling_info:
                # brgconv_avx512_amx_I8 is computed in I8.
                kind = f'{node.node_type} {node.exec_type.rpartition("_")[2]}'
                yield kind, round(node.real_time.total_seconds() * 1e6)


def _onnxruntime(manifest: Manifest) -> Iterator[tuple[str, int]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = manifest.runtime.threads
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = f'{scratch}/profile'
        session = onnxruntime.InferenceSession(
            manifest.folder / POLICY_FILE, options, providers=['CPUExecutionProvider']
        )
        inputs = {p.name: _ones(p.shape, p.type) for p in session.get_inputs()}
        for _ in range(_WARM_UP + _FRAMES):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding='utf-8'))
    for event in events:
        if event.get('cat') == 'Node' and event['name'].endswith('_kernel_time'):
            yield event['args']['op_name'], event['dur']


def _ones(shape: list[int | str], kind: str) -> np.ndarray:
    sizes = [size if isinstance(size, int) else _WORDS for size in shape]
    return np.ones(sizes, {'tensor(uint8)': np.uint8, 'tensor(float)': np.float32}[kind])
