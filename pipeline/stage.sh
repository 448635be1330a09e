#!/bin/sh
# sh pipeline/stage.sh STAGE [ARGUMENT]: run a stage, as dvc.yaml does.
# With the activated environment's Python; else with .venv's, so that `.venv/bin/dvc repro` works.
stage=$1
shift
if [ -z "$VIRTUAL_ENV" ] && [ -x .venv/bin/python ]; then
  PATH=$PWD/.venv/bin:$PATH
fi
# Threads that wait sleep (codec/process.py), unless the user says otherwise.
if [ -z "${OMP_WAIT_POLICY+set}" ]; then
  export GOMP_SPINCOUNT="${GOMP_SPINCOUNT-0}"
fi
# Whose end is to end the stage, too (codec/process.py).
export RDCODEC_PARENT=$PPID
exec python -m "pipeline.stages.$stage" "$@"
