"""What git says of this checkout, and what to do where it says nothing."""

import subprocess

from codec.errors import UserError

# What git says, and what helps; git's own advice comes after its first line.
_REMEDIES = {
    "not a git repository": "not under git; `git init` and a commit put it there",
    "dubious ownership": "the checkout belongs to another user, and git refuses it; allow it with "
    "`git config --global --add safe.directory FOLDER`, or own it",
    "does not have any commits": "git has no commit here yet",
}


def git(*words: str) -> str:
    """What ``git WORDS`` prints; UserError says why it cannot, and what helps."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be started: {error.strerror}") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        known = (remedy for words, remedy in _REMEDIES.items() if words in said)
        raise UserError(next(known, said or f"git {words[0]} exits with {done.returncode}"))
    return done.stdout.strip()
