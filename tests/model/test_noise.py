"""An episode's noise is a function of its seed and the call, the same everywhere and without torch."""

import subprocess
import sys

import numpy as np

from mp_lib.model.noise import chunk_noise


def test_noise_depends_on_seed_and_call_alone():
    drawn = {(seed, call): chunk_noise(seed, call, (16, 4)) for seed in (0, 1, 50_000) for call in (2, 0, 1)}
    assert len({each.tobytes() for each in drawn.values()}) == len(drawn)
    for (seed, call), noise in drawn.items():
        np.testing.assert_array_equal(chunk_noise(seed, call, (16, 4)), noise)


def test_noise_is_that_of_every_release():
    expected = [-0.5185219645500183, -1.7545820474624634, 0.29977425932884216, 0.8553491234779358]
    np.testing.assert_array_equal(chunk_noise(50_000, 3, (1, 4)), np.array([expected], np.float32))


def test_noise_is_normal():
    drawn = np.stack([chunk_noise(seed, 0, (16, 26)) for seed in range(500)])
    assert drawn.dtype == np.float32
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01
    correlation = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert abs(correlation) < 0.01


def test_noise_needs_no_torch():
    code = "import sys, mp_lib.model.noise; print('numpy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
