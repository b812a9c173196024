"""Every deliberate break, in the order of the printed table."""

from __future__ import annotations

from tests.mutants import (
    of_adapters,
    of_commands,
    of_loop,
    of_offsets,
    of_order,
    of_tasks,
    of_times,
    of_uploads,
)

MUTANTS = (
    *of_order.MUTANTS,
    *of_offsets.MUTANTS,
    *of_uploads.MUTANTS,
    *of_tasks.MUTANTS,
    *of_loop.MUTANTS,
    *of_times.MUTANTS,
    *of_adapters.MUTANTS,
    *of_commands.MUTANTS,
)
