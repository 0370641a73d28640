"""Choose the OpenGL backend before MuJoCo is imported; only this module imports MuJoCo."""

from __future__ import annotations

import atexit
import ctypes.util
import os
import weakref

from vla_sim.errors import SimulationError

REMEDY = 'apt-get install libosmesa6 libegl1 libgl1 libegl-mesa0 libgles2 libgl1-mesa-dri'

# OSMesa first: it needs neither a GPU nor a device file and gives every machine the same pixels.
_LIBRARIES = {'osmesa': 'OSMesa', 'egl': 'EGL'}


def choose_backend() -> None:
    """Set MUJOCO_GL to a backend whose library is here, unless the user has set it.

    Without any library physics still works; `renderer` then names the remedy.
    """
    if os.environ.get('MUJOCO_GL', '').strip():
        return
    for backend, library in _LIBRARIES.items():
        if ctypes.util.find_library(library):
            os.environ['MUJOCO_GL'] = backend
            return


def _error(cause: Exception) -> SimulationError:
    backend = os.environ.get('MUJOCO_GL') or 'none found'
    return SimulationError(
        f'cannot render: OpenGL backend is {backend} ({cause}); '
        f'expected a working one of {", ".join(_LIBRARIES)}: run "{REMEDY}" '
        'or set MUJOCO_GL to one of them'
    )


def draw_with(threads: int) -> None:
    """Let Mesa's software renderer draw with so many threads, unless the user has set it.

    It counts before the first `renderer` of a process. The pixels are the same. Without threads of
    its own a picture takes a sixth less CPU time; with two it leaves a quarter earlier (`hop_sim`
    of `vla bench --only camera_to_cmd_vel`).
    """
    os.environ.setdefault('LP_NUM_THREADS', str(threads))


choose_backend()
try:
    import mujoco  # reads MUJOCO_GL
except (AttributeError, OSError, RuntimeError) as error:
    raise _error(error) from error


def renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """Make an off-screen renderer without shadows and reflections.

    Mesa draws without threads of its own, unless `draw_with` or the user has said otherwise.

    Raises:
        SimulationError: No OpenGL library, or the chosen backend does not work here.
    """
    draw_with(0)
    try:
        result = mujoco.Renderer(model, height, width)
    except Exception as error:  # MuJoCo, PyOpenGL and glfw share no exception type
        raise _error(error) from error
    result.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
    result.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
    # Once Python is shutting down, the context can no longer be freed without an error.
    atexit.register(_close, weakref.ref(result))
    return result


def _close(reference: weakref.ref[mujoco.Renderer]) -> None:
    result = reference()
    if result is not None:
        result.close()
