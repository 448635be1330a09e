"""Whether a process lives: what locks and runs of dead ones are told by."""

import psutil

_CLOCK = 1.0  # s by which the beginning of a process is uncertain


def lives(number: int, since: float | None = None) -> bool:
    """Whether a process of this number runs, and ran at ``since`` (s since 1970) if that is given.

    One that began later has only inherited the number; one that has ended keeps it until it is
    collected.
    """
    try:
        process = psutil.Process(number)
        begun = since is None or process.create_time() <= since + _CLOCK
        return begun and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
