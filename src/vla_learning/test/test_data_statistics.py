from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
import numpy as np
import pytest

pytest.importorskip('torch')
from vla_learning.data.errors import DataError
from vla_learning.data.statistics import Accumulator, Statistics

ROWS = npst.arrays(
    np.float64, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-1e3, 1e3)
)


@settings(max_examples=50)
@given(ROWS, st.lists(st.integers(0, 60), max_size=4))
def test_pieces_give_what_numpy_gives_for_the_whole(rows, cuts):
    accumulator = Accumulator(('a', 'b', 'c'))
    for piece in np.split(rows, sorted(min(cut, len(rows)) for cut in cuts)):
        accumulator.add(piece)
    found = accumulator.finish()
    assert found.count == len(rows)
    for name, expected in (
        ('mean', rows.mean(0)),
        ('std', rows.std(0)),
        ('min', rows.min(0)),
        ('max', rows.max(0)),
        ('q01', np.quantile(rows, 0.01, axis=0)),
        ('q99', np.quantile(rows, 0.99, axis=0)),
    ):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-6)
    assert Statistics.from_dict(found.dict()) == found


def test_beyond_the_exact_rows_quantiles_come_from_a_fair_sample():
    rows = np.linspace(0, 1, 50_000)[:, None]  # in order: as fair to the last rows as to the first
    accumulator = Accumulator(('a',), exact_rows=5000)
    for piece in np.array_split(rows, 7):
        accumulator.add(piece)
    found = accumulator.finish()
    assert found.q01[0] == pytest.approx(0.01, abs=0.006)  # four standard deviations
    assert found.q99[0] == pytest.approx(0.99, abs=0.006)
    assert found.mean[0] == pytest.approx(0.5)
    assert found.count == 50_000


def test_scale_is_the_larger_quantile_and_one_for_an_axis_that_rests():
    accumulator = Accumulator(('back', 'rest'))
    accumulator.add(np.stack([np.linspace(-2, 1, 101), np.zeros(101)], 1))
    assert accumulator.finish().action_scale == pytest.approx((1.97, 1.0))


def test_no_row_at_all_is_an_error():
    with pytest.raises(DataError, match='0 rows'):
        Accumulator(('a',)).finish()
