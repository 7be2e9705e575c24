"""What a policy is called with: the same actions for every way to say the same, one line for everything else."""

import numpy as np
import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.backends import freeze
from mp_lib.model.policy import build_policy
from mp_lib.system.errors import InputError

POINTS, STATE, ACTION = 64, 5, 3
BACKENDS_HERE = ["policy", "torch", "onnx"]  # those that need neither a compiler nor a GPU


@pytest.fixture(scope="module", params=BACKENDS_HERE)
def policy(request):
    """A small policy of two observed steps, by itself or under a backend."""
    torch.manual_seed(0)
    config = PolicyConfig("dp3_narrow", STATE, ACTION, num_points=POINTS, down_dims=(16, 32), num_inference_steps=2)
    made = build_policy(config).eval()
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
    return made if request.param == "policy" else freeze(made, request.param)


def history(batch=2, frames=2, points=POINTS, **changed):
    generator = np.random.default_rng(1)
    found = {
        "point_cloud": generator.normal(size=(batch, frames, points, 3)).astype(np.float32),
        "state": generator.normal(size=(batch, frames, STATE)).astype(np.float32),
    }
    return found | changed


def noise(batch=2):
    return torch.randn(batch, 16, ACTION, generator=torch.Generator().manual_seed(0))


def as_tensors(given):
    return {key: torch.from_numpy(values) for key, values in given.items()}


def test_arrays_give_arrays_and_tensors_give_the_same_tensors(policy):
    by_array, by_tensor = policy.act(history(), noise()), policy.act(as_tensors(history()), noise())
    assert isinstance(by_array, np.ndarray) and isinstance(by_tensor, torch.Tensor)
    assert by_array.shape == (2, 8, ACTION)
    np.testing.assert_array_equal(by_array, by_tensor.numpy())


@pytest.mark.parametrize("kind", ["f8", "f2", ">f4"])
def test_other_kinds_of_numbers_are_converted(policy, kind):
    given = {key: values.astype(kind) for key, values in history().items()}
    same = {key: values.astype("f4") for key, values in given.items()}
    np.testing.assert_array_equal(policy.act(given, noise()), policy.act(same, noise()))
    if kind == "f8":
        np.testing.assert_array_equal(policy.act(as_tensors(given), noise()).numpy(), policy.act(same, noise()))


def test_a_short_history_is_refused_unless_its_first_frame_may_be_repeated(policy):
    short = {key: values[:, :1] for key, values in history().items()}
    with pytest.raises(InputError, match=r"has 1 frames, the policy observes 2; act\(history, repeat=True\)"):
        policy.act(short, noise())
    whole = {key: np.repeat(values, 2, axis=1) for key, values in short.items()}
    np.testing.assert_array_equal(policy.act(short, noise(), repeat=True), policy.act(whole, noise()))


def test_order_of_points_and_padding_change_nothing_that_is_seen(policy):
    fewer = history()
    fewer["point_cloud"][:, :, 40:] = 0
    cut = fewer | {"point_cloud": fewer["point_cloud"][:, :, :40]}
    np.testing.assert_array_equal(policy.act(cut, noise()), policy.act(fewer, noise()))


def test_more_points_are_sampled_down(policy):
    from mp_lib.point_cloud import sample_farthest

    many = history(points=1000)
    chosen = [[sample_farthest(cloud, POINTS) for cloud in frames] for frames in many["point_cloud"]]
    same = many | {"point_cloud": np.array(chosen)}
    np.testing.assert_array_equal(policy.act(many, noise()), policy.act(same, noise()))


def test_points_that_are_not_finite_are_left_out(policy):
    given = history()
    given["point_cloud"][0, 1, 3:9] = np.nan
    given["point_cloud"][1, 0, 5, 2] = np.inf
    actions = policy.act(given, noise())
    assert np.isfinite(actions).all()
    whole = history()
    whole["point_cloud"][0, 1, 3:9] = 0
    whole["point_cloud"][1, 0, 5] = 0
    np.testing.assert_allclose(actions, policy.act(whole, noise()), atol=1e-5)


REFUSED = {
    "three frames": (history(frames=3), r"3 frames, the policy observes 2; give point_cloud\[:, -2:\]"),
    "no frame": (history(frames=0), "0 frames"),
    "no batch axis": ({k: v[0] for k, v in history().items()}, r"no batch axis.*point_cloud\[None\]"),
    "state without batch axis": (history(state=np.zeros((2, STATE))), r"state \(2, 5\) has no batch axis"),
    "colours": (history(point_cloud=np.zeros((2, 2, POINTS, 6))), r"has colours.*point_cloud\[\.\.\., :3\]"),
    "a flat cloud": (history(point_cloud=np.zeros((2, 2, POINTS, 2))), "with 3 numbers last"),
    "another state": (history(state=np.zeros((2, 2, 7))), "with 5 numbers last"),
    "another batch": (history(state=np.zeros((3, 2, STATE))), "2 clouds and 3 states"),
    "few points": (history(points=15), "has 15 points, the policy was trained on 64"),
    "no number": (history(point_cloud=np.full((2, 2, POINTS, 3), np.nan)), "has 0 points"),
    "words": (history(state=np.full((2, 2, STATE), "a")), "give numbers"),
    "a state of NaN": (history(state=np.full((2, 2, STATE), np.nan)), "not finite"),
    "no state": ({"point_cloud": history()["point_cloud"]}, "has no state"),
    "too many axes": (history(state=np.zeros((1, 2, 2, STATE))), r"has the shape \(1, 2, 2, 5\)"),
}


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_in_one_line(policy, name, tensors):
    given, said = REFUSED[name]
    if tensors and name == "words":
        pytest.skip("a tensor holds numbers")
    with pytest.raises(InputError, match=said) as error:
        policy.act(as_tensors(given) if tensors else given, noise())
    assert "\n" not in str(error.value)


def test_noise_of_another_shape_is_refused(policy):
    with pytest.raises(InputError, match=r"noise has the shape \(1, 16, 3\); the policy takes \(2, 16, 3\)"):
        policy.act(history(), noise(1))


def test_without_noise_it_is_drawn(policy):
    torch.manual_seed(0)
    first, second = policy.act(history()), policy.act(history())
    assert first.shape == second.shape and not np.array_equal(first, second)


def test_noise_may_be_an_array_of_any_numbers(policy):
    expected = policy.act(history(), noise())
    np.testing.assert_array_equal(policy.act(history(), noise().numpy().astype("f8")), expected)
    with pytest.raises(InputError, match="noise is no array of numbers|noise is"):
        policy.act(history(), [["a"]])


def test_padding_is_no_point_to_choose_where_there_are_more(policy):
    seen = history(points=2 * POINTS)
    padded = np.concatenate([seen["point_cloud"], np.zeros((2, 2, 40, 3), "f4")], axis=2)
    expected = policy.act(seen, noise())
    np.testing.assert_array_equal(policy.act(seen | {"point_cloud": padded}, noise()), expected)


def test_tensors_that_want_a_gradient_are_only_looked_at(policy):
    wanting = {key: values.requires_grad_() for key, values in as_tensors(history(points=2 * POINTS)).items()}
    assert not policy.act(wanting, noise()).requires_grad


@pytest.mark.parametrize("given", [None, [1, 2], history(batch=0), history(points=0)])
def test_what_holds_nothing_is_refused_in_one_line(policy, given):
    with pytest.raises(InputError) as error:
        policy.act(given)
    assert len(str(error.value).splitlines()) == 1


def test_complex_and_sparse_tensors_are_refused(policy):
    seen = as_tensors(history())
    for state in (seen["state"].to(torch.complex64), seen["state"].to_sparse()):
        with pytest.raises(InputError, match="state is"):
            policy.act(seen | {"state": state})


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"state": np.full((2, 2, STATE), 3e38)}, r"state 3e\+38.*units of the demonstrations"),
        ({"point_cloud": 3e38 * np.sign(history()["point_cloud"])}, r"point_cloud 3e\+38"),
        ({"noise": np.full((2, 16, ACTION), np.nan)}, "noise nan"),
        ({"noise": np.full((2, 16, ACTION), 1e39)}, "noise inf"),
    ],
)
def test_actions_are_finite_or_refused_with_the_largest_numbers_given(policy, tensors, changed, said):
    seen = history() | {key: values for key, values in changed.items() if key != "noise"}
    with pytest.raises(InputError, match=f"the actions are not finite; .*{said}") as error:
        policy.act(as_tensors(seen) if tensors else seen, changed.get("noise", noise()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("points", [POINTS, 2 * POINTS, POINTS // 2])
def test_a_cloud_of_padding_alone_is_taken_with_one_warning(policy, points):
    seen = history(points=points)
    seen["point_cloud"][1, 0] = 0
    seen["point_cloud"][1, 0, : points // 2] = np.nan  # left out, so nothing stays
    with pytest.warns(UserWarning, match="a cloud is padding alone") as warned:
        actions = policy.act(seen, noise())
    assert np.isfinite(actions).all() and len(warned) == 1 and warned[0].filename == __file__


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_policy_that_was_cast_is_refused_by_name(kind):
    config = PolicyConfig("dp3_narrow", STATE, ACTION, num_points=POINTS, down_dims=(16, 32), num_inference_steps=2)
    cast = build_policy(config).eval().to(kind)
    for use in (lambda: cast.act(history(), noise()), lambda: freeze(cast, "torch"), lambda: freeze(cast, "auto")):
        with pytest.raises(InputError, match=rf"the policy is in {kind}; .*give policy.float\(\)"):
            use()
    assert cast.float().act(history(), noise()).shape == (2, 8, ACTION)
