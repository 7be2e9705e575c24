"""The example for an arm and a depth camera runs as it stands, against a made-up arm and camera."""

import importlib.util
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mp_lib.acting.actor import Actor
from tests import ROOT
from tests.acting.fake import FakeEngine, cloud

PATH = ROOT / "examples" / "arm.py"
LONGEST = 72  # lines that are not empty


@pytest.fixture
def example(monkeypatch):
    """The script as a module, whose policy is a made-up one that has seen another scene."""
    spec = importlib.util.spec_from_file_location("arm", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen = dict.fromkeys(("cloud_low", "centre_low", "centre_high", "extent_low", "extent_high", "open_closed"))
    seen |= {"cloud": cloud(), "cloud_high": None, "state_low": np.full(3, 5.0), "state_high": np.full(3, 6.0)}
    engine = FakeEngine(seen=SimpleNamespace(**seen, action_low=np.zeros(2), action_high=np.ones(2)))
    monkeypatch.setattr("mp_lib.acting.actor.load_engine", lambda *given, **others: engine)
    return module


def test_it_acts_when_it_is_told_that_all_is_made_up(example, capsys):
    example.main(["any run", "--fake", "--seconds", "1.25"])
    told = capsys.readouterr().out
    assert "LOOK  state 0: 0, in the demonstrations 5 to 6" in told and "25 steps, " in told
    assert "no observation" not in told and "same cloud" not in told


def test_it_does_not_act_where_nothing_looks_like_the_training_data(example, capsys, monkeypatch):
    monkeypatch.setattr(example, "run", lambda *_: pytest.fail("it acts"))
    with pytest.raises(SystemExit, match="does not look like the training data: mend what says LOOK"):
        example.main(["any run"])
    assert "LOOK" in capsys.readouterr().out


def test_every_step_is_commanded_within_the_limits(example):
    actor = Actor.load("any run", max_step=0.05)
    arm = example.Arm(actor.facts.state_dim)
    report = example.run(actor, example.Camera(), arm, 0.75)
    assert report.steps == len(arm.told) - 1 == 15 and not report.held
    assert (np.abs(np.diff(arm.told, axis=0)) <= 0.05 + 1e-6).all()


def test_a_slow_step_makes_no_later_one_faster(example, monkeypatch):
    moments, step = [], 1 / 20
    actor, camera, arm = Actor.load("any run"), example.Camera(), example.Arm(3)
    look, slow = camera.read, iter([0, 0, 4 * step, 0, 0, 0, 0, 0])
    monkeypatch.setattr(camera, "read", lambda: (time.sleep(next(slow)), look())[1])
    monkeypatch.setattr(arm, "command", lambda action: moments.append(time.monotonic()))
    example.run(actor, camera, arm, 8 * step)
    assert np.diff(moments[:-1]).min() > step - 1e-3 and np.diff(moments[:-1]).max() > 4 * step


def test_a_policy_that_is_not_there_is_one_line():
    done = subprocess.run([sys.executable, PATH, "nosuch", "--fake"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "nosuch" in done.stderr


def test_a_depth_image_becomes_a_cropped_cloud_in_the_frame_of_the_demonstrations(example, monkeypatch):
    depth = np.zeros((480, 640))
    depth[240, 320], depth[240, 440], depth[0, 0] = 1.0, 1.0, 9.0  # before the camera, 0.2 m to the right, far away
    np.testing.assert_allclose(example.cloud_of(depth), [[0, 0, 1], [0.2, 0, 1]])
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0, 0
    monkeypatch.setattr(example, "POSE", pose)
    np.testing.assert_allclose(example.cloud_of(depth), [[0.1, 0, 1], [0.3, 0, 1]])


def test_it_can_be_read_at_a_glance():
    assert len([line for line in PATH.read_text().splitlines() if line]) <= LONGEST
