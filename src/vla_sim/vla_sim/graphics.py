"""Choose the OpenGL backend before MuJoCo is imported; every import of MuJoCo goes through here."""

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


choose_backend()
import mujoco  # noqa: E402  (reads MUJOCO_GL while it is imported)


def renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """Make an off-screen renderer without shadows and reflections.

    Raises:
        SimulationError: No OpenGL library, or the chosen backend does not work here.
    """
    try:
        result = mujoco.Renderer(model, height, width)
    except Exception as error:  # MuJoCo, PyOpenGL and glfw share no exception type
        backend = os.environ.get('MUJOCO_GL') or 'none found'
        raise SimulationError(
            f'cannot render: OpenGL backend is {backend} ({error}); '
            f'expected a working one of {", ".join(_LIBRARIES)}: run "{REMEDY}" '
            'or set MUJOCO_GL to one of them'
        ) from error
    result.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
    result.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
    # Once Python is shutting down, the context can no longer be freed without an error.
    atexit.register(_close, weakref.ref(result))
    return result


def _close(reference: weakref.ref[mujoco.Renderer]) -> None:
    result = reference()
    if result is not None:
        result.close()
