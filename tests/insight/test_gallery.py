"""The figure of the ten tasks: a picture and a cloud each, imagined points apart."""

import numpy as np
import pytest

from mp_lib.insight import gallery
from mp_lib.sim.tasks import PAPER_TASKS, TASKS


def test_every_task_of_the_paper_has_a_moment_within_its_episode():
    assert set(gallery.MOMENTS) == set(PAPER_TASKS)
    assert all(0 < step < TASKS[task].max_steps for task, step in gallery.MOMENTS.items())


@pytest.mark.parametrize(("task", "imagined"), [("dexart_bucket", 96), ("metaworld_stick-push", 0)])
def test_a_look_has_picture_and_points(task, imagined):
    look = gallery.look_at(task)
    assert look["picture"].dtype == np.uint8 and look["picture"].ndim == 3
    assert look["imagined"].shape == (imagined, 3) and len(look["seen"]) > 100


def test_each_task_is_a_picture_above_a_cloud():
    points = np.random.default_rng(0).normal(size=(50, 3))
    look = {"picture": np.zeros((24, 32, 3), np.uint8), "seen": points, "imagined": points[:5]}
    figure = gallery.gallery(dict.fromkeys(PAPER_TASKS, look))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 20 and "laptop\nDexArt, re-created" in titles
