"""Why a clip has no score."""


class Unscorable(Exception):
    """A metric has no answer for a clip; the message is the reason that tables show."""
