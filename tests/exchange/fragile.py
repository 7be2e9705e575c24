"""A recording that a reader does not survive."""

import os
import signal


class Fragile:
    """A recording whose reader does not survive being read."""

    episodes, fps, tasks, kinds, units = ["ep0"], None, {}, {}, {}

    def __init__(self, path):
        self.path = path

    def entries(self, episode):
        raise KeyError("a fault of our own")

    def read(self, episode, key, start, stop):
        os.kill(os.getpid(), signal.SIGSEGV)
