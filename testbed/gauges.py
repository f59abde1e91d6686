"""What a machine holds in memory at a moment: for the bound of invariant 15."""

from __future__ import annotations

from tana.node.machine import Machine, MachineGauges


def read_gauges(machine: Machine) -> MachineGauges:
    """The gauges of a machine that has taken its first step."""
    return machine.gauges()
