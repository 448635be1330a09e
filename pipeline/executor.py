"""Where independent work runs: processes of this machine, or a Dask cluster."""

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import cast

from codec.errors import UserError
from pipeline.params import Score
from pipeline.process import die_with_parent
from pipeline.stage import cores


@contextmanager
def executor(settings: Score, pieces: int) -> Iterator[Executor]:
    """What ``settings`` ask for, with no more processes than there are pieces of work."""
    jobs = min(settings.jobs or cores(), max(1, pieces))
    if settings.executor == "processes":
        with ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=die_with_parent
        ) as pool:
            yield pool
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UserError("score.executor: dask: install rdcodec with its extra cluster") from error
    if settings.address:
        try:
            client = Client(settings.address, timeout=30)
        except OSError as error:
            raise UserError(
                f"score.address: {settings.address}: no Dask scheduler there"
            ) from error
        with client:
            yield cast(Executor, client.get_executor())
        return
    with (
        LocalCluster(jobs, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield cast(Executor, client.get_executor())
