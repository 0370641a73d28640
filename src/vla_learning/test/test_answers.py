import random

import numpy as np
import pytest

from vla_learning.answers import Answers, EvaluationError, FILE_NAME, load


def answers(count):
    whole, steps = np.arange(count), np.zeros((count, 8, 7), np.float32)
    texts = np.array(['go'] * count)
    return Answers(
        *(whole, whole, whole.astype(np.int8), whole, texts, texts, steps, steps[:, 0, 0]),
        *(np.zeros(count, bool), steps, steps == 0.0, steps[:, 0] == 0.0, np.zeros(count)),
    )


def test_whatever_byte_of_the_file_is_changed_it_is_refused_or_read(tmp_path):
    answers(5).save(tmp_path)
    whole = (tmp_path / FILE_NAME).read_bytes()
    draw, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / FILE_NAME).write_bytes(damaged)
        try:
            load(tmp_path)
        except EvaluationError:
            refused += 1
    assert refused > 300


def test_a_damaged_stream_is_refused_with_its_name(tmp_path):
    answers(5).save(tmp_path)
    whole = (tmp_path / FILE_NAME).read_bytes()
    begin = whole.index(b'group.npy') + len('group.npy') + 20
    (tmp_path / FILE_NAME).write_bytes(whole[:begin] + b'\xff' * 8 + whole[begin + 8 :])
    with pytest.raises(EvaluationError, match=rf'{FILE_NAME}.*expected the answers'):
        load(tmp_path)
