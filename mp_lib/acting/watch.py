"""Two clocks beside an arm: how long nothing was observed, and how long the camera has shown the same."""

from __future__ import annotations

import numpy as np

from mp_lib.acting.history import Frame
from mp_lib.acting.holding import CannotAct


class Watch:
    """Looks at every observation that comes, or does not; a limit in seconds that is None is not looked at."""

    def __init__(self, no_observation_s: float | None, same_cloud_s: float | None):
        self.no_observation_s, self.same_cloud_s = no_observation_s, same_cloud_s
        self.seen = self.changed = 0.0  # when something was observed, and when its cloud was another one
        self.last: Frame | None = None

    def is_new(self, frame: Frame | None) -> bool:
        """Whether there is an observation that is not the last one again, by its stamp where it has one."""
        same = frame is not None and self.last is not None and frame.stamp is not None
        # A stamp may be an array, such as seconds and nanoseconds.
        return frame is not None and not (same and np.array_equal(frame.stamp, self.last.stamp))

    def look(self, frame: Frame | None, now: float) -> None:
        """Take an observation at the time ``now``, None if there is none; a CannotAct if this lasts too long."""
        if self.is_new(frame):
            if self.last is None or frame.cloud.tobytes() != self.last.cloud.tobytes():
                self.changed = now
            self.seen, self.last = now, frame
        elif self.last is not None and passed(now - self.seen, self.no_observation_s):
            raise CannotAct("no observation", f"no observation for {now - self.seen:.2f} s")
        if self.last is not None and passed(now - self.changed, self.same_cloud_s):
            same = f"the clouds are equal to the bit for {now - self.changed:.2f} s"
            raise CannotAct("same cloud", f"{same}; does the camera still run?")


def passed(seconds: float, limit: float | None) -> bool:
    """Whether more than ``limit`` seconds have gone by."""
    return limit is not None and seconds > limit
