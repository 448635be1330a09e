"""Where independent work runs: processes of this machine, or a Dask cluster.

One process per core is the whole parallel scheme: each computes in one thread.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import cast

from codec.errors import UserError
from codec.process import pool
from pipeline.params import Score
from pipeline.stage import cores

CONNECT_SECONDS = 30  # for which a Dask scheduler is waited for
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")}


def jobs(settings: Score) -> int:
    """Processes that ``settings`` ask for: as many as there are cores where they give no number."""
    return settings.jobs or cores()


@contextmanager
def executor(settings: Score, pieces: int) -> Iterator[Executor]:
    """What ``settings`` ask for, with no more processes than there are pieces of work."""
    processes = min(jobs(settings), max(1, pieces))
    if settings.executor == "processes":
        with _one_thread_each(), pool(processes) as workers:
            yield workers
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError("score.executor: dask: install rdcodec with its extra cluster") from error
    if settings.address:
        try:
            client = Client(settings.address, timeout=CONNECT_SECONDS)
        except OSError as error:
            raise UserError(
                f"score.address: {settings.address}: no Dask scheduler there"
            ) from error
        with client:
            yield cast(Executor, client.get_executor())
        return
    with (
        _one_thread_each(),
        LocalCluster(processes, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield cast(Executor, client.get_executor())


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have processes that start meanwhile compute in one thread, whatever library they use.

    Libraries read these variables when they are imported, and a spawned process imports them
    before it runs anything of ours: the variables must be there when it starts.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
