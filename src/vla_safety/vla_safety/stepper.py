"""When the gate steps: every 20 ms and on arrivals, or once per simulated tick."""

from collections.abc import Callable
import time
from typing import Any

from rclpy.node import Node

from vla_core.gate.core import Gate
from vla_core.gate.messages import (
    Chunk,
    Inputs,
    InternalError,
    Message,
    Odom,
    Reply,
    Request,
    Result,
)
from vla_core.player import ROUNDING
from vla_ros.clock import ProcessClock, STEADY
from vla_safety.inbox import Urgency
from vla_safety.outbox import Outbox

PERIOD = 0.02
#: s between steps on arrival.
SHORTEST = 0.005


class Stepper:
    """Collect what arrives and step the gate; the only caller of its core."""

    def __init__(
        self,
        gate: Gate,
        clock: ProcessClock,
        outbox: Outbox,
        estop_publishers: Callable[[], int],
        odom_required: bool,
    ) -> None:
        """Prepare; `start` or `on_tick` makes it step.

        Args:
            gate: the core.
            clock: of the process.
            outbox: takes every result.
            estop_publishers: counts publishers of safety/estop.
            odom_required: in lock-step a tick waits for its odom.
        """
        self._gate = gate
        self._clock = clock
        self._outbox = outbox
        self._estop_publishers = estop_publishers
        self._odom_required = odom_required
        self._messages: list[Message] = []
        # Publishers of cmd_vel and of safety/estop, as last known.
        self._levels = (0, 0)
        self._stepped_at = float('-inf')
        self._soon: Any = None
        # Lock-step: time of the newest /clock, odom and step, s.
        self._due = self._odom_at = self._tick_at = float('-inf')

    def start(self, node: Node, guard: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Step by a steady timer; a second one catches arrivals too soon after a step."""
        node.create_timer(PERIOD, guard(self.step), clock=STEADY)
        self._soon = node.create_timer(SHORTEST, guard(self._late), clock=STEADY)
        self._soon.cancel()

    def fail(self, error: Exception) -> None:
        """Latch ESTOP with the next step: something raised what nobody expected."""
        self._messages.append(InternalError(f'{type(error).__name__}: {error}'))

    def deliver(self, message: Message, urgency: Urgency) -> None:
        """Take a message; step at once if it wants that."""
        self._messages.append(message)
        if self._clock.lockstep:
            if isinstance(message, Odom):
                self._odom_at = message.at
                self._step_tick()
            elif urgency is not Urgency.NEXT:
                self._run(repeated=True)
        elif urgency is Urgency.NOW or (
            urgency is Urgency.SOON and time.monotonic() - self._stepped_at >= SHORTEST
        ):
            self.step()
        elif urgency is Urgency.SOON:
            self._soon.reset()

    def ask(self, request: Request) -> Reply:
        """Let the gate answer an operator."""
        result = self._run(repeated=self._clock.lockstep, request=request)
        return result.reply or Reply(False, 'no answer')

    def on_tick(self, stamp_ns: int) -> None:
        """Take a simulated tick."""
        self._due = stamp_ns * 1e-9
        self._step_tick()

    def step(self) -> None:
        """Step now."""
        self._run()

    def _late(self) -> None:
        self._soon.cancel()
        self._run()

    def _step_tick(self) -> None:
        odom_here = not self._odom_required or self._odom_at >= self._due - ROUNDING
        if self._due > self._tick_at and odom_here:
            self._tick_at = self._due
            self._run()
            if any(isinstance(message, Chunk) for message in self._messages):
                self._run(repeated=True)

    def _run(self, repeated: bool = False, request: Request | None = None) -> Result:
        wall = time.monotonic()
        # Between two ticks no simulated time passes, though the next /clock may be here.
        now = max(0.0, self._tick_at) if self._clock.lockstep else wall
        self._count_publishers()
        writers, estop_publishers = self._levels
        messages = self._take(now, repeated)
        self._stepped_at = wall
        inputs = Inputs(
            wall=wall,
            messages=messages,
            request=request,
            writers=writers,
            estop_publishers=estop_publishers,
        )
        result = self._gate.step(now, inputs)
        tick = round(now / PERIOD) if self._clock.lockstep else result.tick
        self._outbox.publish(result, tick, repeated)
        return result

    def _count_publishers(self) -> None:
        """Ask the graph; should it raise, the step comes all the same, and is an ESTOP."""
        try:
            self._levels = self._outbox.writers(), self._estop_publishers()
        except Exception as error:
            self.fail(error)

    def _take(self, now: float, repeated: bool) -> tuple[Message, ...]:
        """Take what has arrived; in lock-step only what belongs to this tick.

        Odom and chunk of the next tick may be faster than its /clock, and a chunk of this tick
        faster than its odom. Were they taken on arrival, a run would not be repeatable.
        """
        if not self._clock.lockstep:
            taken, self._messages = self._messages, []
            return tuple(taken)
        latest = now + ROUNDING
        chunks = latest if repeated else latest - PERIOD
        taken, kept = [], []
        for message in self._messages:
            early = (isinstance(message, Odom) and message.at > latest) or (
                isinstance(message, Chunk) and message.observed > chunks
            )
            (kept if early else taken).append(message)
        self._messages = kept
        return tuple(taken)
