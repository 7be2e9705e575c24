#!/usr/bin/env bash
# From a bare checkout to the report. Minutes on 2 CPU cores, no GPU; the environment (3 minutes) is set up once.
#
#   ./run_all.sh           the quick scale: 7 methods on one task       15 to 25 minutes
#   ./run_all.sh smoke     the same steps, tiny: does everything work?         3 minutes
#   ./run_all.sh paper     the paper's protocol: wants GPUs and days
#   ./run_all.sh paper --plan   what that would take; nothing is run     half a minute
#   ./run_all.sh report    claims, verdicts, tables, figures; nothing is run     2 minutes
#   ./run_all.sh site      the report, all notebooks and documents, into site/  10 minutes
#   ./run_all.sh demo      a trained policy at work, on one page               1 minute
#   ./run_all.sh lab       JupyterLab on copies of the notebooks, in explore/
#   ./run_all.sh setup     the environment alone
#   ./run_all.sh test      linter and tests; `test --all` with the slow ones   30-40 min.
#   ./run_all.sh --help    experiments, tasks, methods, seeds, device, jobs, plan
set -euo pipefail
case "${MP_ROOT:-}" in  # made whole here, before the folder changes; what "~" stands for is left to Python
    "" | /* | "~"*) ;;
    *) export MP_ROOT="$PWD/$MP_ROOT" ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")"

fail() { echo "run_all.sh: $*" >&2; exit 2; }

case "$(uname -s)" in MINGW* | MSYS* | CYGWIN*)
    fail "a shell on Windows itself has neither the locks nor the signals this needs; run it in WSL (wsl --install)" ;;
esac

find_python() {  # prints nothing where there is none
    local name
    for name in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

make_venv() {  # .venv, by a Python that is here, or by uv, which gets one
    local base="$1"
    if [ -n "$base" ]; then
        "$base" -m venv --clear .venv || { rm -rf .venv; fail "$base could not make .venv (Debian: apt install python3-venv)"; }
    elif command -v uv > /dev/null; then
        uv venv --quiet --clear --seed --python 3.12 .venv || { rm -rf .venv; fail "uv could not make .venv with Python 3.12; its own message stands above"; }
    else
        fail "Python 3.11, 3.12 or 3.13 is needed and none was found; install one, name it (PYTHON=/path/to/python ./run_all.sh), or install uv (pip install uv), which gets one"
    fi
}

set_up() {  # the environment, if it is not there as pyproject.toml and constraints.txt ask for it
    local python="$1" stamp wanted
    stamp="$("$python" -c 'import sys; print(sys.prefix)')/.mp_lib-$extras"
    wanted="$(cat pyproject.toml constraints.txt | cksum) $PWD"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing what pyproject.toml asks for, and mp_lib as it is in $PWD, into $("$python" -c 'import sys; print(sys.prefix)') (about 3 minutes)"
        SECONDS=0
        "$python" -m pip install --disable-pip-version-check \
            --constraint constraints.txt --editable ".[$extras]" \
            || fail "pip could not install the project's dependencies; its own message stands above"
        echo "$wanted" > "$stamp"
        echo "environment ready after $SECONDS s"
    fi
}

# --env is this script's own, wherever it stands; everything else is passed on.
environment=venv
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --env) [ $# -gt 1 ] || fail "--env was given without a value; choose venv or active"; environment="$2"; shift ;;
        --env=*) environment="${1#--env=}" ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
set -- ${arguments[@]+"${arguments[@]}"}
extras=sim,lab,view,track,deploy,import,serve,test
case " $* " in *" --plan "*) ;; " test "* | *" --engine snakemake "* | *" --engine=snakemake "*) extras=sim,lab,view,track,deploy,import,serve,test,cluster ;; esac

case "$environment" in
    active)
        python=python
        command -v python > /dev/null || fail "--env active was given, but no environment with a python is active"
        ;;
    venv)
        python=.venv/bin/python
        if ! "$python" -m pip --version > /dev/null 2>&1; then
            base=$(find_python)
            case "$base ${1:-}" in ?*\ -h | ?*\ --help) exec "$base" -m mp_lib run --help ;; esac
            make_venv "$base"
        fi
        ;;
    *) fail "--env $environment was given; choose venv or active" ;;
esac

case "${1:-}" in
    -h | --help) exec "$python" -m mp_lib run --help ;;
    lab | demo) set_up "$python"; exec "$python" -m mp_lib "$@" ;;
    setup) [ $# = 1 ] || fail "setup was given with ${*:2}; it takes no more than --env"; set_up "$python" ;;
    test) set_up "$python"; shift; exec "$python" -m tests "$@" ;;
    *) set_up "$python"; exec "$python" -m mp_lib run "$@" ;;
esac
