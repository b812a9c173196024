"""The plan of a run: all that a seed decides before it."""

from __future__ import annotations

from dataclasses import dataclass, field

from consumer.core.pipeline import Rules
from tests.simulation.adapters import Pace
from tests.simulation.api_faults import Faults
from tests.simulation.broker import MAX_METADATA
from tests.simulation.client_state import Link
from tests.simulation.dead_letters import PendingWrite
from tests.simulation.happening import Happening
from tests.simulation.process import Strike
from tests.simulation.published import Mix
from tests.simulation.uploading import Ending


@dataclass
class Scenario:
    """All that a seed decides before the run; the rest is drawn from the same seed."""

    seed: int
    partitions: int = 3
    members: int = 1
    eager: bool = False
    static: bool = False
    protocol: str = "classic"
    on_out_of_range: str = "stop"
    until_end: bool = False
    refuses: bool = False  #: the API refuses connections for longer than a run with an end waits
    stride: int = 1  #: offsets that a record takes (broker.ListLog)
    log_trouble: str = ""
    #: By life: its how manieth last commit is a fault.
    fault_at: dict[int, int] = field(default_factory=dict)
    start_from: str = "earliest"
    session: float = 10.0
    heartbeat: float = 1.0
    max_poll: float = 60.0
    commit_interval: float = 0.5
    timeout: float = 8.0
    revoke_seconds: float = 13.0
    stretch: float = 1.0  #: longest wait of a turn that has nothing to do; 0: every turn is taken
    rules: Rules = field(default_factory=Rules)
    tasks: bool = False  #: updates by unit go asynchronously, and single rows that keep failing
    map_room: int = 4000  #: characters that the program gives a settled map
    batch: int = 500  #: records that it reads at once
    max_metadata: int = MAX_METADATA
    mix: Mix = field(default_factory=Mix)
    faults: Faults = field(default_factory=Faults)
    link: Link = field(default_factory=Link)
    pace: Pace = field(default_factory=Pace)
    writing: PendingWrite = field(default_factory=PendingWrite)
    records: int = 300
    publish_for: float = 20.0
    trouble_for: float = 40.0
    happenings: list[Happening] = field(default_factory=list)
    #: By life of the whole run, from 0.
    strikes: dict[int, list[Strike]] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    me_status: int | None = None  #: what ``GET /me`` says as long as the API is well
    ending: Ending = field(default_factory=Ending)
