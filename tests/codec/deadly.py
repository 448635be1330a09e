"""Work that kills its process; a module of its own, because workers import it and not torch."""

import os
import signal


def work(number: int) -> int:
    if number % 10 == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def variable(name: str) -> str | None:
    return os.environ.get(name)


def set_variable(name: str, value: str) -> None:
    os.environ[name] = value
