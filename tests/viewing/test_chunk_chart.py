"""The chart has a panel a number, a line a sample, and says what is executed and what was done."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget", reason="the extra [view] is not installed")

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.browsing import played
from mp_lib.insight.scene import Look, Scene
from mp_lib.viewing.chunk_chart import HEIGHT, chart, limits_of
from tests.insight.toy_policy import long_toy, toy_policy

POLICY = toy_policy(spec=long_toy(12))
NAMES = ("move <x>", "close")


@pytest.fixture(scope="module")
def seen():
    return Scene(played(POLICY, EXPLORING_SEEDS)).seen(Look(samples=5), [POLICY])


def parts(svg, tag):
    return list(ElementTree.fromstring(svg).iter(tag))


def test_a_panel_has_a_line_a_sample_and_one_of_what_was_done(seen):
    svg = chart(seen, NAMES, limits_of(POLICY.policy), [0, 1])
    assert len(parts(svg, "polyline")) == 2 * (5 + 1)
    assert len([line for line in parts(svg, "polyline") if "stroke-dasharray" in line.attrib]) == 2
    assert {"move <x>", "close"} <= {text.text for text in parts(svg, "text")}
    assert len(parts(chart(seen, NAMES, limits_of(POLICY.policy), [1]), "polyline")) == 5 + 1


def test_heights_are_values_between_the_limits(seen):
    flat = replace(seen.fans[0], chunks=np.full((1, 7, 2), 0.5))
    svg = chart(replace(seen, fans=(flat,)), NAMES, np.array([[0, 1], [-1, 1]]), [0, 1])
    first, _, third, _ = parts(svg, "polyline")
    for line, share in ((first, 0.5), (third, 0.25)):
        heights = {float(place.split(",")[1]) for place in line.attrib["points"].split()}
        assert heights == {share * HEIGHT}


def test_limits_are_those_of_the_demonstrations_and_a_bit_more():
    policy = toy_policy().policy
    values = torch.tensor([[0.0, 3.0], [2.0, 3.0]])
    policy.policy.normalizer.fit({"action": values})
    np.testing.assert_allclose(limits_of(policy), [[-0.1, 2.1], [2, 4]], atol=1e-6)
