"""Options of `vla replay`, readable without anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Playing:
    """What to play, and to whom."""

    bag: Annotated[Path, tyro.conf.Positional]
    """folder of a recording, or one .mcap or .db3 file"""
    policy: str = 'demo'
    """checkpoint (name or path) or built-in policy"""
    robot: str = 'sim'
    """robot file whose limits count: a name from config/robots, or a path; zones are left out"""
    camera: str = ''
    """topic of the frames in the recording; empty: the only one there is"""
    instruction: str = ''
    """said at the beginning in place of the recorded texts"""
    start: float = 0.0
    """s after the beginning of the recording"""
    stop: float | None = None
    """s after the beginning of the recording; by default to its end"""
    output: Path = Path('build') / 'replay'
    """folder for what is written, the log of the graph among it"""


@dataclass(frozen=True)
class Check(Playing):
    """Play a recording to the real graph, tick by tick; hold what it does against a golden file.

    Without --golden the chunks in the recording itself are what counts: the live drive. Prints a
    table, writes check.json, check.xml (JUnit) and tracks.png. Exit status 1 if anything is over
    its tolerance, with its axis, stamp and frame; 2 if it could not be judged.
    """

    golden: Path | None = None
    """file of `vla replay bless`"""
    linear: float = 1e-6
    """tolerance, m/s"""
    angular: float = 1e-6
    """tolerance, rad/s"""
    other: float = 1e-6
    """tolerance of other axes, such as the gripper's 0 to 1"""
    unmatched: float | None = None
    """share of frames that may obey another instruction, have another status or no chunk; by
    default 0 with a golden file and 0.05 for a live drive, whose texts came between its frames"""


@dataclass(frozen=True)
class Bless(Playing):
    """Play a recording to the real graph, tick by tick; write what it does as a golden file."""

    golden: Path = Path('golden.npz')
    """file to write"""


@dataclass(frozen=True)
class Play:
    """Play a recording into a running graph, in real time or N times as fast.

    Plays what a robot, its sensors and people sent; what this workspace's nodes published stays
    out unless --topics names it. Stamps are those of now, so that no node finds them too old.

    Attributes:
        bag: folder of a recording, or one .mcap or .db3 file.
        namespace: of the graph; topics are played below it.
        rate: times the recorded speed.
        start: s after the beginning of the recording.
        stop: s after the beginning of the recording; by default to its end.
        prelude: s before it for which its first frame and odometry are sent, at rest: a gate arms
            only then; not with sim_time.
        loop: begin anew at the end, until Ctrl-C.
        topics: names in the recording.
        remap: FROM:=TO, FROM as in the recording, TO as in the graph.
        instruction: said at the beginning in place of the recorded texts.
        sim_time: keep the recorded stamps and publish /clock, for nodes with use_sim_time.
    """

    bag: Annotated[Path, tyro.conf.Positional]
    namespace: str = ''
    rate: float = 1.0
    start: float = 0.0
    stop: float | None = None
    prelude: float = 0.0
    loop: bool = False
    topics: tuple[str, ...] = ()
    remap: tuple[str, ...] = ()
    instruction: str = ''
    sim_time: bool = False


@dataclass(frozen=True)
class ToDataset:
    """Write drives as a LeRobotDataset v3, an episode for every instruction that was obeyed.

    Needs what make setup-train installs. Then: vla-learn data DEST, vla-learn train.

    Attributes:
        dest: new folder; appears when it is complete.
        bags: folders of recordings.
        fps: frames per second of the data set.
        actions: topic of velocities that the robot obeyed, or chunks: the policy's own.
        policy: checkpoint of the policy that answered, for chunks: what its answers mean.
        camera: topic of the frames; empty: the only one there is.
        instruction: said for each whole bag; empty: what the bags say.
        failures: take along episodes that were not DONE, have the label failure, or were cut off.
        shortest: frames below which an episode is left out.
        video: H.264 video, small but lossy, instead of the pictures as they are.
    """

    dest: Annotated[Path, tyro.conf.Positional]
    bags: Annotated[tuple[Path, ...], tyro.conf.Positional]
    fps: float = 10.0
    actions: str = 'cmd_vel'
    policy: str = 'demo'
    camera: str = ''
    instruction: str = ''
    failures: bool = False
    shortest: int = 5
    video: bool = False


@dataclass(frozen=True)
class ToVideo:
    """Write what the camera saw, with the instruction, the gate's state and both velocities.

    Needs what make setup-train installs.

    Attributes:
        bag: folder of a recording, or one .mcap or .db3 file.
        dest: new file, .mp4.
        camera: topic of the frames; empty: the only one there is.
        fps: pictures per second.
    """

    bag: Annotated[Path, tyro.conf.Positional]
    dest: Annotated[Path, tyro.conf.Positional]
    camera: str = ''
    fps: float = 25.0


@dataclass(frozen=True)
class Collect:
    """Drive the robot by keys and record what you do, an episode each, for learning.

    Beside a running robot (vla_up robot.launch.xml). The gate limits a person as it limits a
    policy.

    Attributes:
        instruction: what the robot is shown to do.
        dest: folder that takes episode_0001 and so on.
        speed: m/s at full speed.
        turn_rate: rad/s at full speed.
        camera: topic of frames that does not begin with camera/.
        namespace: of the robot, as given to vla_up.
    """

    instruction: Annotated[str, tyro.conf.Positional]
    dest: Path = Path('demonstrations')
    speed: float = 0.4
    turn_rate: float = 0.8
    camera: str = ''
    namespace: str = ''


@dataclass(frozen=True)
class Drive:
    """Let the shipped policy drive in the simulator and record it: how the regression bag is made.

    Attributes:
        output: new bag.
        texts: said one after the other.
        seconds: for each text at most.
        seed: of the layout.
        policy: checkpoint (name or path) or built-in policy.
        camera: topic of the frames: as small as the policy sees them, or camera/color/image_raw.
    """

    output: Annotated[Path, tyro.conf.Positional]
    texts: tuple[str, ...] = ('go to the red box',)
    seconds: float = 30.0
    seed: int = 501169
    policy: str = 'demo'
    camera: str = 'vla/image/front'
