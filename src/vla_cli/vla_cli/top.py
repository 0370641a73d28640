"""`vla top`: the graph at a glance, until Ctrl-C."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live

from vla_cli.connection import connect, Interrupted
from vla_cli.gate import SERVICES
from vla_cli.graph_view import GraphView
from vla_interfaces.msg import Decision, HealthReport, Heartbeat, Instruction, SafetyState
from vla_ros import qos

_PERIOD = 0.25


def show(namespace: str) -> int:
    """Show the graph in `namespace` until Ctrl-C; where output is no terminal, once."""
    with connect(namespace) as connection:
        view = GraphView(namespace)
        subscribe = connection.node.create_subscription
        subscribe(Decision, 'safety/decision', view.decision.add, qos.DECISION)
        subscribe(SafetyState, 'safety/state', view.state.add, qos.STATE)
        subscribe(Instruction, 'vla/instruction', view.instruction.add, qos.INSTRUCTION)
        subscribe(HealthReport, 'vla/health', view.health.add, qos.HEALTH)
        subscribe(Heartbeat, 'vla/heartbeat', view.on_heartbeat, qos.HEARTBEAT)
        connection.find(lambda: view.state.message is not None, SERVICES['arm'], 'gate')
        console = Console()
        try:
            if not console.is_terminal:
                # Long enough for the 1 Hz health report.
                connection.wait(lambda: False, 1.5)
                console.print(view.render())
                return 0
            with Live(console=console, auto_refresh=False, screen=True) as live:
                while True:
                    live.update(view.render(console.height), refresh=True)
                    connection.wait(lambda: False, _PERIOD)
        except Interrupted:
            return 0
