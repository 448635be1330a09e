"""`python -m codec`: the codec's commands, without the bench."""

from codec.cli import COMMANDS, application
from codec.errors import one_line
from codec.process import let_threads_sleep

if __name__ == "__main__":
    let_threads_sleep()
    with one_line():
        application(*COMMANDS)(prog_name="python -m codec")
