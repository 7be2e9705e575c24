"""Noising and sampling are those of diffusers."""

import pytest
import torch

from mp_lib.model.ddim import DDIM

STEPS = [(100, 10), (100, 1), (100, 2), (100, 4), (100, 3), (100, 7), (100, 100), (50, 5)]  # (training, inference)


def make_oracle(num_train_steps=100):
    return pytest.importorskip("diffusers").DDIMScheduler(
        num_train_timesteps=num_train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=True,
        set_alpha_to_one=True,
        steps_offset=0,
    )


@pytest.mark.parametrize(("num_train_steps", "num_inference_steps"), STEPS)
@pytest.mark.parametrize("spread", [0.5, 3.0, 30.0])
def test_a_whole_loop_equals_diffusers(num_train_steps, num_inference_steps, spread):
    generator = torch.Generator().manual_seed(0)
    oracle = make_oracle(num_train_steps)
    oracle.set_timesteps(num_inference_steps)
    ddim = DDIM(num_train_steps, num_inference_steps)
    assert ddim.steps == oracle.timesteps.tolist()
    noise = torch.randn(3, 16, 4, generator=generator)
    outputs = {step: spread * torch.randn(3, 16, 4, generator=generator) for step in ddim.steps}
    expected = noise
    for step in oracle.timesteps:
        found = ddim.update(expected, outputs[int(step)], int(step))
        expected = oracle.step(outputs[int(step)], step, expected).prev_sample
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    sampled = ddim.sample(lambda actions, index: outputs[ddim.steps[index]], noise)
    torch.testing.assert_close(sampled, expected, rtol=1e-5, atol=1e-5)
    assert sampled.abs().max() <= 1


def test_the_direction_is_that_of_the_prediction_before_clipping():
    ddim = DDIM()
    noisy, predicted = torch.full((1, 1, 1), 0.3), torch.full((1, 1, 1), 4.0)
    assert (ddim.update(noisy, predicted, 50) - ddim.update(noisy, predicted.clamp(-1, 1), 50)).abs() > 0.1


@pytest.mark.parametrize("num_train_steps", [100, 50])
def test_noising_equals_diffusers(num_train_steps):
    generator = torch.Generator().manual_seed(0)
    actions, noise = torch.randn(2, num_train_steps, 16, 4, generator=generator)
    step = torch.arange(num_train_steps)
    expected = make_oracle(num_train_steps).add_noise(actions, noise, step)
    torch.testing.assert_close(DDIM(num_train_steps).add_noise(actions, noise, step), expected, rtol=1e-5, atol=1e-6)


def test_a_model_that_knows_the_actions_recovers_them():
    actions, noise = torch.rand(2, 8, 4, 3) * 2 - 1
    for num_inference_steps in (1, 2, 10):
        sampled = DDIM(100, num_inference_steps).sample(lambda noisy, index: actions, noise)
        torch.testing.assert_close(sampled, actions, rtol=1e-6, atol=1e-6)


def test_the_model_is_told_which_step_it_is():
    told, ddim = [], DDIM(100, 4)
    ddim.sample(lambda actions, index: (told.append(ddim.steps[index]), actions)[1], torch.zeros(3, 4, 2))
    assert told == [75, 50, 25, 0]


@pytest.mark.parametrize("num_inference_steps", [0, -1, 101])
def test_numbers_of_steps_that_do_not_exist_are_refused(num_inference_steps):
    with pytest.raises(ValueError, match=f"{num_inference_steps} inference steps given; 1 to 100 are allowed"):
        DDIM(100, num_inference_steps)
