"""Streaming statistics of latencies and rates, in constant memory (docs/reference/safety.md).

Unknown is a value: below MINIMUM samples, and once the newest is older than SPAN, a statistic is
NaN, never 0. Nothing here reads a clock.
"""

from dataclasses import dataclass
import math

import numpy as np

#: Fewer samples than this are no statistic.
MINIMUM = 20
#: s over which a rate is measured, and after which what was measured last says nothing any more.
SPAN = 5.0
#: Weight of the newest sample in an exponentially weighted mean of latencies.
ALPHA = 0.3
#: An alarm is raised above RAISE times its baseline and cleared below CLEAR times.
RAISE, CLEAR = 1.6, 1.3
#: Healthy samples from one refresh of the baseline to the next; divides MINIMUM.
REFRESH = 10
#: s; who answers within this time is not slow, however much faster it was before: a built-in
#: policy takes microseconds, and a hundred times as long when it waits for its processor once.
FAST = 0.001
#: Median absolute deviation to standard deviation of a normal distribution.
MAD_TO_SIGMA = 1.4826

#: Hops in the order in which a frame takes them, then what they add up to.
HOPS = ('camera_to_image', 'image_to_chunk', 'inference', 'chunk_to_cmd_vel', 'camera_to_cmd_vel')
#: A stamp further ahead (s), or older, says that a clock is wrong, not how long a hop took.
MAX_LEAD, MAX_LATENCY = 0.05, 60.0
#: Frames followed at most: foreign stamps must not fill the memory.
MAX_FRAMES = 64


@dataclass(frozen=True)
class Summary:
    """What a window of samples shows; NaN where it shows nothing. Values in the samples' unit.

    Attributes:
        count: samples in the window.
        rate: Hz.
        age: s since the newest sample.
    """

    count: int = 0
    mean: float = math.nan
    std: float = math.nan
    p50: float = math.nan
    p95: float = math.nan
    p99: float = math.nan
    maximum: float = math.nan
    rate: float = math.nan
    age: float = math.nan


class Arrivals:
    """Rate and age of events, from the times of the newest of them."""

    def __init__(self, size: int = 64) -> None:
        """Remember the newest `size` times."""
        self._times = np.zeros(size)
        self.count = 0
        self._newest = math.nan

    def record(self, now: float) -> None:
        """Note one event at `now`, s on one monotonic clock."""
        self._times[self.count % self._times.size] = now
        self.count += 1
        self._newest = now

    def age(self, now: float) -> float:
        """Return s since the newest event; NaN before the first."""
        return now - self._newest

    def rate(self, now: float) -> float:
        """Return Hz over the last SPAN; NaN if it holds fewer than two moments.

        The gap that is not over yet counts from when on it is longer than the others.
        """
        times = self._times[: self.count]
        recent = times[(times >= now - SPAN) & (times <= now)]
        span = float(np.ptp(recent)) if recent.size else 0.0
        if not span > 0.0:
            return math.nan
        return min((recent.size - 1) / span, recent.size / (now - float(recent.min())))


class Series:
    """The newest values of one quantity."""

    def __init__(self, size: int = 1000) -> None:
        """Remember the newest `size` values."""
        self._values = np.zeros(size)
        self._arrivals = Arrivals(min(size, 256))
        self.count = 0
        self.invalid = 0

    def record(self, now: float, value: float) -> None:
        """Note one value; one that is not finite is counted in `invalid` and nothing else."""
        if not math.isfinite(value):
            self.invalid += 1
            return
        self._values[self.count % self._values.size] = value
        self.count += 1
        self._arrivals.record(now)

    def summary(self, now: float) -> Summary:
        """Summarise the window."""
        values = self._values[: self.count]
        rate, age = self._arrivals.rate(now), self._arrivals.age(now)
        if values.size < MINIMUM or age > SPAN:
            return Summary(count=values.size, rate=rate, age=age)
        p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
        return Summary(
            count=values.size,
            mean=float(values.mean()),
            std=float(values.std()),
            p50=p50,
            p95=p95,
            p99=p99,
            maximum=float(values.max()),
            rate=rate,
            age=age,
        )


class Share:
    """Share of samples, lately, that are odd; the alarm made of it does not flutter.

    Attributes:
        value: 0..1, exponentially weighted.
        alarm: raised above one share, cleared below a lower one.
    """

    __slots__ = ('_clear', '_raise', '_weight', 'alarm', 'value')

    def __init__(self, weight: float, raise_above: float, clear_below: float) -> None:
        """Give the newest sample `weight`, in (0, 1]; both shares are in 0..1."""
        self._weight = weight
        self._raise = raise_above
        self._clear = clear_below
        self.value = 0.0
        self.alarm = False

    def record(self, odd: bool) -> None:
        """Note one sample."""
        self.value += self._weight * (odd - self.value)
        self.alarm = self.value > (self._clear if self.alarm else self._raise)


class LatencyAlarm:
    """Tells a latency that became slow from one that scatters.

    An exponentially weighted mean is compared with the median of the newest healthy samples.
    `slow` needs both RAISE times the median and three deviations (by MAD) above it, so that a
    latency that always scattered widely raises nothing; `over_limit` is absolute.
    """

    def __init__(self, limit: float, warm_up: int, size: int = 200) -> None:
        """Alarm above `limit` s; ignore the first `warm_up` samples; baseline of `size`."""
        self._limit = limit
        self._warm_up = warm_up
        self._size = size
        self.reset()

    def reset(self) -> None:
        """Forget everything: another process, or another model, is being timed."""
        self._healthy = np.zeros(self._size)
        self._learned = 0
        self._skip = self._warm_up
        self._median = self._margin = math.nan
        self.mean = math.nan
        self.slow = False
        self.over_limit = False
        self.invalid = 0

    @property
    def baseline(self) -> float:
        """Median of the healthy samples, s; NaN below MINIMUM of them."""
        return self._median if self._learned >= MINIMUM else math.nan

    def record(self, seconds: float) -> None:
        """Judge one latency; one that is negative or not finite is counted in `invalid`."""
        if not 0.0 <= seconds < math.inf:
            self.invalid += 1
            return
        if self._skip > 0:
            self._skip -= 1
            return
        known = math.isfinite(self.mean)
        self.mean = self.mean + ALPHA * (seconds - self.mean) if known else seconds
        if self._learned >= MINIMUM:
            ratio, deviations = (CLEAR, 1.5) if self.slow else (RAISE, 3.0)
            spread = self._median + deviations * self._margin
            self.slow = self.mean > max(ratio * self._median, spread, FAST)
        self.over_limit = self.mean > self._limit * (CLEAR / RAISE if self.over_limit else 1.0)
        if not (self.slow or self.over_limit):
            self._learn(seconds)

    def _learn(self, seconds: float) -> None:
        self._healthy[self._learned % self._size] = seconds
        self._learned += 1
        if self._learned % REFRESH:
            return
        healthy = self._healthy[: self._learned]
        # Upper median: one partition is several times faster than np.median.
        middle = healthy.size // 2
        self._median = float(np.partition(healthy, middle)[middle])
        deviation = np.partition(np.abs(healthy - self._median), middle)[middle]
        self._margin = MAD_TO_SIGMA * float(deviation)


class Hops:
    """Follows the stamp of each frame from the camera to the first command that came from it."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._series = {name: Series() for name in HOPS}
        self._images: dict[int, float] = {}
        self._chunks: dict[int, float] = {}
        self._decided = 0
        #: Hop -> s, of hops whose newest latency cannot be true.
        self.implausible: dict[str, float] = {}

    def image(self, stamp_ns: int, now: float, age: float) -> None:
        """Note that a frame became an image, `age` s after its stamp."""
        self._remember(self._images, stamp_ns, now)
        self._record('camera_to_image', now, age)

    def chunk(self, observation_ns: int, now: float, inference: float) -> None:
        """Note the chunk that a frame led to."""
        arrived = self._images.get(observation_ns)
        if arrived is not None:
            self._record('image_to_chunk', now, now - arrived)
        if inference > 0.0:
            self._record('inference', now, inference)
        self._remember(self._chunks, observation_ns, now)

    def decision(self, observation_ns: int, now: float, age: float) -> None:
        """Note a step of the gate; only the first that came from a frame, `age` s old, counts."""
        if observation_ns in (0, self._decided):
            return
        self._decided = observation_ns
        arrived = self._chunks.get(observation_ns)
        if arrived is not None:
            self._record('chunk_to_cmd_vel', now, now - arrived)
        self._record('camera_to_cmd_vel', now, age)

    def summaries(self, now: float) -> dict[str, Summary]:
        """Summarise every hop."""
        return {name: series.summary(now) for name, series in self._series.items()}

    def _record(self, name: str, now: float, seconds: float) -> None:
        if -MAX_LEAD <= seconds <= MAX_LATENCY:
            self.implausible.pop(name, None)
            # Topics overtake each other on the way here by less than that.
            self._series[name].record(now, max(0.0, seconds))
        else:
            self.implausible[name] = seconds

    @staticmethod
    def _remember(arrivals: dict[int, float], stamp_ns: int, now: float) -> None:
        arrivals[stamp_ns] = now
        if len(arrivals) > MAX_FRAMES:
            del arrivals[next(iter(arrivals))]
