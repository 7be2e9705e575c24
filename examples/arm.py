"""An arm and a depth camera: python arm.py RUN [--fake]. Copy it, and write your drivers and numbers into it."""

import argparse
import sys
import time

import numpy as np

from mp_lib import Actor

RATE = 20  # control steps a second, where the policy does not say how many its demonstrations had
MAX_STEP = None  # by how much each number may change from one command to the next, in its own unit; None: by any
LENS = (600.0, 600.0, 320.0, 240.0)  # fx, fy, cx, cy in pixels, of your camera
POSE = np.eye(4)  # camera to the frame of the demonstrations, x right, y down, z forward; from your calibration
CROP = np.array([[-0.5, -0.5, 0.2], [0.5, 0.5, 1.2]])  # metres, the box that the demonstrations were cropped to


class Camera:
    """Yours returns its newest depth image (H, W) in metres and when it was taken."""

    noise = np.random.default_rng(0)

    def read(self):
        y, x = np.mgrid[0:480:4, 0:640:4]  # made up: a table with a bump, and noise, as a live camera has
        bump = 0.1 * np.exp(-((x - 320) ** 2 + (y - 240) ** 2) / 5000)
        depth = 0.8 - bump + self.noise.normal(0, 1e-3, x.shape)
        return depth.repeat(4, 0).repeat(4, 1), time.monotonic()


class Arm:
    """Yours returns the numbers of the state as they were recorded, and executes one action within a control step."""

    def __init__(self, state_dim):
        self.told, self.now = [], np.zeros(state_dim, np.float32)

    def state(self):
        return self.now

    def command(self, action):
        self.told.append(action)  # made up: it stays where it is


def cloud_of(depth):
    """The points (M, 3) of a depth image in the frame of the demonstrations, cropped."""
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > 0))
    z, (fx, fy, cx, cy) = depth[rows, columns], LENS
    points = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], axis=1) @ POSE[:3, :3].T + POSE[:3, 3]
    return points[((points > CROP[0]) & (points < CROP[1])).all(1)]


def run(actor, camera, arm, seconds):
    """Act for a while at the rate of the demonstrations, and return what the actor reports."""
    rate = actor.facts.fps or RATE
    step, told = 1 / rate, None
    actor.reset()
    try:
        for _ in range(round(seconds * rate)):
            began = time.monotonic()
            depth, stamp = camera.read()
            action = actor.select_action({"point_cloud": cloud_of(depth), "state": arm.state(), "stamp": stamp})
            took = min(time.monotonic() - began, step)
            wait_until(told + step if told else began)  # what a slow step has lost stays lost, or the arm would hurry
            told = time.monotonic()
            arm.command(action)
            wait_until(told + step - took)  # so that the next is seen shortly before it is told
    finally:  # also at Ctrl-C: an arm that is told velocities would go on
        if told:
            arm.command(actor.still())
    return actor.report()


def wait_until(moment):
    time.sleep(max(0.0, moment - time.monotonic()))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", help="a run, its folder, or an export")
    parser.add_argument("--fake", action="store_true", help="act although it does not look like the training data")
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args(arguments)
    try:
        actor = Actor.load(given.policy, asynchronous=True, max_step=MAX_STEP)
    except ValueError as error:  # in one line
        sys.exit(str(error))
    camera, arm = Camera(), Arm(actor.facts.state_dim)
    print(looked := actor.check(cloud_of(camera.read()[0]), arm.state()))
    if not (looked.ok or given.fake):
        sys.exit("what is seen does not look like the training data: mend what says LOOK; --fake acts all the same")
    print(run(actor, camera, arm, given.seconds))


if __name__ == "__main__":
    main()
