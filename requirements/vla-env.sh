# Written by `make setup`. Use: . .venv/bin/vla-env (sh or bash; once per shell, again after a new package was built).
_vla_workspace=@WORKSPACE@
_vla_ros=@ROS@

_vla_prepend() {  # NAME DIRECTORY
    [ -d "$2" ] || return 0
    eval "_vla_old=\${$1:-}"
    case ":$_vla_old:" in *":$2:"*) return 0 ;; esac
    eval "$1=\$2\${_vla_old:+:\$_vla_old}"
    export "${1?}"
}

if [ -n "$_vla_ros" ]; then
    [ -n "${AMENT_PREFIX_PATH:-}" ] || . "$_vla_ros"
else
    # The wheels keep their libraries in the environment; the variable spares each Python a second start.
    _vla_prepend AMENT_PREFIX_PATH "$_vla_workspace/.venv"
    for _vla_libraries in "$_vla_workspace"/.venv/lib/python3*/site-packages/ros_*.libs; do
        _vla_prepend LD_LIBRARY_PATH "$_vla_libraries"
    done
    _vla_prepend LD_LIBRARY_PATH "$_vla_workspace/.venv/lib"
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
fi

export VIRTUAL_ENV="$_vla_workspace/.venv"
_vla_prepend PATH "$VIRTUAL_ENV/bin"

for _vla_prefix in "$_vla_workspace"/install/*; do
    _vla_name=${_vla_prefix##*/}
    [ -d "$_vla_prefix/share/$_vla_name" ] || continue
    _vla_prepend AMENT_PREFIX_PATH "$_vla_prefix"
    _vla_prepend PATH "$_vla_prefix/bin"
    _vla_prepend LD_LIBRARY_PATH "$_vla_prefix/lib"
    for _vla_modules in "$_vla_prefix"/lib/python3*/site-packages; do
        _vla_prepend PYTHONPATH "$_vla_modules"
    done
    # With --symlink-install the modules and entry points lie in the build folder.
    if [ -L "$_vla_workspace/build/$_vla_name/setup.py" ]; then
        _vla_prepend PYTHONPATH "$_vla_workspace/build/$_vla_name"
    fi
done

unset -f _vla_prepend
unset _vla_workspace _vla_ros _vla_old _vla_libraries _vla_prefix _vla_name _vla_modules
