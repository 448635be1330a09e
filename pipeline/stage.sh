#!/bin/sh
# sh pipeline/stage.sh STAGE [ARGUMENT]: run a stage, as dvc.yaml does.
# With the activated environment's Python; else with .venv's, so that `.venv/bin/dvc repro` works.
stage=$1
shift
if [ -z "$VIRTUAL_ENV" ] && [ -x .venv/bin/python ]; then
  PATH=$PWD/.venv/bin:$PATH
fi
# Whose end is to end the stage, too (pipeline/process.py).
export RDCODEC_PARENT=$PPID
exec python -m "pipeline.stages.$stage" "$@"
