"""What a machine has, lent to stages so that none is given away twice."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from pipeline.running.graph import Meta
from pipeline.stage import cores

GB = 1e9
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def memory() -> float:
    """GB that this process and its children may use: the machine's, or its container's limit."""
    total = int(psutil.virtual_memory().total)
    if CGROUP_LIMIT.is_file() and (limit := CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(limit))
    return total / GB


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    # Unlike torch, it opens no CUDA context; and unlike indices, UUIDs mean the same to both.
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split() if done.returncode == 0 else []


class Machine:
    """Processors, memory and GPUs; a stage that needs more than there is gets all, alone."""

    def __init__(self, cores: int, memory: float, gpus: Sequence[str] = ()) -> None:
        self.cores, self.memory, self.gpus = cores, memory, tuple(gpus)
        self.free_cores, self.free_memory, self.free_gpus = cores, memory, list(gpus)
        self.changed = threading.Condition()

    @classmethod
    def this(cls) -> "Machine":
        """The machine that we are on."""
        return cls(cores(), memory(), gpus())

    @contextlib.contextmanager
    def lent(
        self,
        wanted: Meta,
        stopped: Callable[[], bool] = lambda: False,
        waits: Callable[[], None] = lambda: None,
    ) -> Iterator[dict[str, str]]:
        """Wait for what a stage wants, and hold it; yields environment variables that say so.

        Where there are GPUs, a stage with ``gpu`` sees those that it was lent and no other stage
        sees any. Its ``cores: 0`` then means a GPU's share of them, so that there can be a stage
        on each. ``waits`` is called before the waiting, if there is any. It ends early, with
        nothing, once ``stopped``.
        """
        gpu = min(wanted.gpu, len(self.gpus))
        count = wanted.cores or (self.cores * gpu // len(self.gpus) if gpu else self.cores)
        count = min(max(1, count), self.cores)
        size = min(wanted.memory, self.memory)
        mine: list[str] | None = None

        def taken() -> bool:
            nonlocal mine
            if self.free_cores < count or self.free_memory < size or len(self.free_gpus) < gpu:
                return False
            self.free_cores -= count
            self.free_memory -= size
            mine, self.free_gpus = self.free_gpus[:gpu], self.free_gpus[gpu:]
            return True

        with self.changed:
            waiting = not (stopped() or taken())
        if waiting:
            waits()
            with self.changed:
                self.changed.wait_for(lambda: stopped() or taken())
        try:
            yield {VISIBLE: ",".join(mine or ())} if self.gpus else {}
        finally:
            if mine is not None:
                with self.changed:
                    self.free_cores += count
                    self.free_memory += size
                    self.free_gpus += mine
                    self.changed.notify_all()

    def wake(self) -> None:
        """Have those who wait look again whether they are stopped."""
        with self.changed:
            self.changed.notify_all()
