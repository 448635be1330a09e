"""The one command, rdcodec: the codec's commands and the bench's, a module for each room."""

from codec import cli as codec
from codec.errors import one_line
from codec.process import let_threads_sleep
from pipeline.cli import bench, listening, results, run

app = codec.application(
    *codec.COMMANDS, *run.COMMANDS, *bench.COMMANDS, *results.COMMANDS, completion=True
)
app.add_typer(listening.app, name="listening")


def main() -> None:
    """Run a command; a UserError is one line on stderr and exit status 2."""
    let_threads_sleep()
    with one_line():
        app()
