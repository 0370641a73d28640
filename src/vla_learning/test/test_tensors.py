import io
import random

import pytest

torch = pytest.importorskip('torch')

from vla_core.errors import CheckpointError  # noqa: E402
from vla_learning.model.tensors import read_tensors  # noqa: E402


@pytest.mark.filterwarnings('ignore:Detected pickle protocol', 'ignore:TypedStorage')
@pytest.mark.parametrize('zipped', [True, False])
def test_whatever_bytes_of_a_file_are_changed_it_is_refused_or_read(tmp_path, zipped):
    stream = io.BytesIO()
    tensors = {'a': torch.zeros(3, 2), 'b.c': torch.ones(4, dtype=torch.int64)}
    torch.save(tensors, stream, _use_new_zipfile_serialization=zipped)
    whole, file = stream.getvalue(), tmp_path / 'weights.pth'
    draw, refused = random.Random(0), 0
    for _ in range(800):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged)
        try:
            read_tensors(file)
        except CheckpointError:
            refused += 1
    assert refused > 200
