"""Wilson's interval has the published values, and covers as often as it says."""

import numpy as np
import pytest

from mp_lib.statistics import wilson_interval


@pytest.mark.parametrize(
    ("successes", "episodes", "confidence", "expected"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
        (81, 263, 0.95, (0.2553, 0.3662)),
        (15, 148, 0.95, (0.0624, 0.1605)),
        (0, 20, 0.95, (0.0000, 0.1611)),
        (1, 29, 0.95, (0.0061, 0.1718)),
    ],
)
def test_published_values(successes, episodes, confidence, expected):
    assert wilson_interval(successes, episodes, confidence) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("episodes", [1, 7, 20, 1000])
def test_the_interval_holds_the_rate_and_mirrors_with_it(episodes):
    for successes in range(episodes + 1):
        low, high = wilson_interval(successes, episodes)
        assert 0 <= low <= successes / episodes <= high <= 1
        assert wilson_interval(episodes - successes, episodes) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.85])
def test_it_covers_the_true_rate_about_as_often_as_it_says(rate):
    counts = np.random.default_rng(0).binomial(50, rate, size=4000)
    intervals = np.array([wilson_interval(int(count), 50) for count in counts])
    covered = np.mean((intervals[:, 0] <= rate) & (rate <= intervals[:, 1]))
    assert covered == pytest.approx(0.95, abs=0.025)


def test_more_confidence_is_wider():
    assert np.ptp(wilson_interval(7, 10, 0.99)) > np.ptp(wilson_interval(7, 10, 0.95))


@pytest.mark.parametrize("wrong", [(1, 0), (-1, 5), (6, 5), (1, 5, 1.0), (1, 5, 0)])
def test_what_is_no_rate_is_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        wilson_interval(*wrong)
