"""One U-Net is every method: the official sizes, names and lengths, and no parameter that does nothing."""

import pytest
import torch
from torch import nn

from mp_lib.model import blocks, unet
from mp_lib.model.blocks import FEW_ROWS, MLP, ConditionedBlock, Conv1d, ConvBlock, MixerBlock, add_kept, conv_tail
from mp_lib.model.loops import add_masked
from mp_lib.model.policy import build_denoiser
from mp_lib.model.unet import StepEmbedding, UNet1D, Upsample
from mp_lib.presets import ATTENTION, METHODS, PAPER_METHODS, U_NETS, mixers_of

EVERY = [(method, attention) for method in METHODS for attention in ATTENTION]
COND = 256
DEAD = 16_550_912  # parameters of attention in the released Mamba nets, which never runs
OFFICIAL = {  # parameters of the official denoisers by action size
    26: {
        "dp3": 255_153_306,
        "simple_dp3": 7_394_970,
        "dp3_mamba": 47_872_794,
        "dp3_mamba_v2": 48_197_050,
        "dp3_mamba_bi": 48_611_098,
        "dp3_mamba_hydra": 48_313_450,
    },
    22: {
        "dp3": 255_138_966,
        "simple_dp3": 7_391_382,
        "dp3_mamba": 47_869_206,
        "dp3_mamba_v2": 48_193_462,
        "dp3_mamba_bi": 48_607_510,
        "dp3_mamba_hydra": 48_309_862,
    },
    4: {
        "dp3": 255_074_436,
        "simple_dp3": 7_375_236,
        "dp3_mamba": 47_853_060,
        "dp3_mamba_v2": 48_177_316,
        "dp3_mamba_bi": 48_591_364,
        "dp3_mamba_hydra": 48_293_716,
    },
}
OFFICIAL_NARROW = 18_176_000  # DP3's U-Net at the Mamba widths, action size 26, to the nearest thousand


def count(module):
    return sum(each.numel() for each in module.parameters())


def narrow(method, attention="paper", action_dim=5, cond_dim=24, horizon=16):
    """The denoiser with small widths, in evaluation mode: no drop-path."""
    torch.manual_seed(0)
    widths = (32, 64, 96) if method in U_NETS else (32,)
    sizes = {"step_embed_dim": 32, "attention": attention, "horizon": horizon}
    return build_denoiser(method, action_dim, cond_dim, widths, **sizes).eval()


def inputs(horizon, action_dim=5, cond_dim=24, batch=3):
    generator = torch.Generator().manual_seed(horizon)
    actions = torch.randn(batch, horizon, action_dim, generator=generator)
    return actions, torch.arange(batch) * 40, torch.randn(batch, cond_dim, generator=generator)


@pytest.mark.parametrize("action_dim", OFFICIAL)
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("method", PAPER_METHODS)
def test_parameters_count_as_in_the_official_code(method, attention, action_dim):
    with torch.device("meta"):
        found = count(build_denoiser(method, action_dim, COND, attention=attention))
    if method == "dp3_narrow":
        assert action_dim != 26 or round(found, -3) == OFFICIAL_NARROW
    else:
        dead = DEAD if METHODS[method].mixer and attention == "released" else 0
        assert found == OFFICIAL[action_dim][method] - dead


def test_every_method_with_a_published_size_is_counted():
    for sizes in OFFICIAL.values():
        assert {*sizes, "dp3_narrow"} == {*PAPER_METHODS}


@pytest.mark.parametrize(("method", "attention"), EVERY)
def test_every_parameter_gets_a_gradient(method, attention):
    model = narrow(method, attention)
    actions, step, cond = inputs(16)
    (model(actions, step, cond) * torch.randn_like(actions)).sum().backward()
    idle = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]
    assert not idle
    assert all(each.grad.isfinite().all() for each in model.parameters())


@pytest.mark.parametrize("method", [method for method in PAPER_METHODS if METHODS[method].mixer])
def test_at_horizon_4_most_decays_learn_nothing(method):
    """One step has no past to decay; Hydra's outputs lag one step behind, so there two steps have none."""
    model = narrow(method, "released")
    actions, step, cond = inputs(4)
    (model(actions, step, cond) * torch.randn_like(actions)).sum().backward()
    logs = {name: each.grad for name, each in model.named_parameters() if name.endswith(("A_log", "A_b_log"))}
    idle = {name.split(".blocks")[0] for name, grad in logs.items() if not grad.any()}
    levels = ["down_modules.2", "mid_modules", "up_modules.0"]
    if METHODS[method].mixer == "hydra":
        levels += ["down_modules.1", "up_modules.1"]
    assert idle == {f"{level}.{block}" for level in levels for block in (0, 1)}


@pytest.mark.parametrize("method", U_NETS)
def test_released_has_no_attention_and_paper_has_one_a_mixer(method):
    mixers = [type(module).__name__ for module in narrow(method, "released").modules()]
    assert "Attention" not in mixers
    blocks = [module for module in narrow(method, "paper").modules() if isinstance(module, ConditionedBlock)]
    expected = ["Attention"] if METHODS[method].mixer else []
    for block in blocks:
        tail = [type(part.mixer).__name__ for part in block.blocks[1:] if isinstance(part, MixerBlock)]
        assert tail[1:] == expected
        assert len(tail) == len(mixers_of(method, "paper"))


@pytest.mark.parametrize(
    ("horizon", "lengths"), [(4, [4, 4, 2, 2, *6 * [1], 2, 2]), (16, [16, 16, 8, 8, *6 * [4], 8, 8])]
)
@pytest.mark.parametrize("method", U_NETS)
def test_the_lengths_that_the_blocks_see(method, horizon, lengths):
    model, seen = narrow(method), []
    for module in model.modules():
        if isinstance(module, ConditionedBlock):
            module.register_forward_hook(lambda _, arguments, output: seen.append(output.shape[-1]))
    with torch.no_grad():
        model(*inputs(horizon))
    assert seen == lengths[:: 2 // METHODS[method].blocks_per_level]


@pytest.mark.parametrize("horizon", [4, 16, 32])
@pytest.mark.parametrize(("method", "attention"), EVERY)
def test_every_method_works_at_every_horizon(method, attention, horizon):
    actions, step, cond = inputs(horizon)
    model = narrow(method, attention, horizon=horizon)
    with torch.no_grad():
        output = model(actions, step, cond)
        assert output.shape == actions.shape and output.isfinite().all()
        for changed in [(actions + 1, step, cond), (actions, step + 1, cond), (actions, step, cond + 1)]:
            assert (model(*changed) - output).abs().amax(dim=(1, 2)).min() > 1e-6


@pytest.mark.parametrize("horizon", [1, 2, 3, 6, 15, 18])
def test_a_horizon_that_halving_does_not_fit_is_refused(horizon):
    with pytest.raises(ValueError, match=f"horizon {horizon} given; it must be a multiple of 4"):
        narrow("simple_dp3")(*inputs(horizon))


def test_an_unknown_method_or_attention_lists_the_choices():
    with pytest.raises(ValueError, match="unknown method 'mamba'; choose one of: dp3_mamba, ") as raised:
        build_denoiser("mamba", 4, COND)
    assert all(name in str(raised.value) for name in METHODS)
    with pytest.raises(ValueError, match=f"unknown attention 'none'; choose one of: {', '.join(ATTENTION)}"):
        build_denoiser("dp3_mamba", 4, COND, attention="none")


@pytest.mark.parametrize("widths", [(16, 16, 16), (16, 32, 32), (32, 16, 32), (8, 8), (16,), (8, 8, 8, 8)])
def test_any_widths_make_a_net(widths):
    horizon = 2 * 2 ** (len(widths) - 1)
    model = UNet1D(5, 24, widths, conv_tail, step_embed_dim=32)
    assert model(*inputs(horizon)).shape == (3, horizon, 5)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("dp3_mamba", ["blocks.1.mixer.A_log", "blocks.1.mlp.fc2.bias", "blocks.2.mixer.qkv.weight"]),
        ("dp3_mamba_bi", ["blocks.1.mixer.A_b_log", "blocks.1.mixer.conv1d_b.weight", "blocks.2.mixer.proj.bias"]),
        ("dp3_mamba_v2", ["blocks.1.mixer.dt_bias", "blocks.1.mixer.norm.weight", "blocks.1.norm1.weight"]),
        ("dp3_mamba_hydra", ["blocks.1.mixer.fc_D.weight", "blocks.1.mixer.out_proj.weight"]),
        ("dp3", ["blocks.0.block.0.weight", "blocks.1.block.1.bias"]),
    ],
)
def test_parameters_have_the_names_of_released_checkpoints(method, names):
    found = narrow(method).state_dict().keys()
    for prefix in ("down_modules.0.0", "down_modules.2.1", "mid_modules.0", "mid_modules.1", "up_modules.1.0"):
        assert {f"{prefix}.{name}" for name in (*names, "cond_encoder.1.weight")} <= found
    assert {"diffusion_step_encoder.1.weight", "diffusion_step_encoder.3.bias", "final_conv.0.block.0.weight"} <= found
    assert {"down_modules.0.0.residual_conv.weight", "down_modules.1.2.conv.weight", "final_conv.1.bias"} <= found
    assert "down_modules.0.1.residual_conv.weight" not in found
    assert "down_modules.2.2.conv.weight" not in found


def test_a_block_is_film_by_scale_and_bias_within_a_residual():
    torch.manual_seed(0)
    block = ConditionedBlock(5, 16, 24, conv_tail)
    x, cond = torch.randn(3, 5, 8), torch.randn(3, 24)
    scale, bias = block.cond_encoder(cond).reshape(3, 2, 16, 1).unbind(1)
    expected = block.blocks[1](scale * block.blocks[0].block(x) + bias) + block.residual_conv(x)
    torch.testing.assert_close(block(x, block.cond_encoder(cond)), expected)


@pytest.mark.parametrize("method", METHODS)
def test_step_and_condition_add_up_to_the_whole_modulation(method):
    torch.manual_seed(0)
    denoiser = narrow(method, "paper").eval()
    actions, steps, cond = torch.randn(3, 16, 5), torch.tensor([0, 50, 99]), torch.randn(3, 24)
    parts = denoiser.step_modulation(steps) + denoiser.cond_modulation(cond)
    torch.testing.assert_close(denoiser.denoise(actions, parts), denoiser(actions, steps, cond), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (5, 1)])
def test_a_convolution_of_few_steps_is_the_same_as_a_product(kernel, stride, monkeypatch):
    conv, called = Conv1d(6, 4, kernel, stride=stride, padding=kernel // 2), []
    multiply = conv.multiply
    monkeypatch.setattr(conv, "multiply", lambda x: called.append(len(x)) or multiply(x))
    for samples in (1, 2, FEW_ROWS):
        x = torch.randn(samples, 6, 8)
        with torch.no_grad():
            found = conv(x)
        torch.testing.assert_close(found, nn.Conv1d.forward(conv, x))
        torch.testing.assert_close(conv(x), found)  # with gradient
    assert called == [1, 2]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("steps", [4, 7])
def test_a_large_convolution_is_a_product_in_training_too(kernel, stride, steps, monkeypatch):
    """Values and gradients in float64, also where the input itself has none."""
    torch.manual_seed(0)
    conv, x = Conv1d(6, 4, kernel, stride=stride, padding=kernel // 2).double(), torch.randn(3, 6, steps).double()

    def run(given):
        y = conv(given)
        leaves = [*conv.parameters(), *([given] if given.requires_grad else [])]
        return [y, *torch.autograd.grad((y * torch.arange(y.numel()).view_as(y)).sum(), leaves)]

    for given in (x, x.clone().requires_grad_()):
        expected, called = run(given), []
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "LARGE", 1)
            multiply = conv.multiply_for_gradient
            patch.setattr(
                conv, "multiply_for_gradient", lambda x, do=multiply, called=called: called.append(1) or do(x)
            )
            torch.testing.assert_close(run(given), expected)
        assert called == [1]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_large_transposed_convolution_is_a_product_in_training(length, monkeypatch):
    torch.manual_seed(0)
    up, x = Upsample(6).double(), torch.randn(3, 6, length).double().requires_grad_()

    def run():
        y = up(x)
        return [y, *torch.autograd.grad(y.square().sum(), [*up.parameters(), x])]

    expected = run()
    monkeypatch.setattr(unet, "LARGE", 1)
    torch.testing.assert_close(run(), expected)


def test_a_convolution_can_be_exported_for_any_number_of_samples():
    free = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        program = torch.export.export(Conv1d(4, 8, 3, padding=1), (torch.randn(2, 4, 8),), dynamic_shapes=(free,))
    assert program.module()(torch.randn(50, 4, 8)).shape == (50, 8, 8)


def test_a_mixer_block_adds_mixer_and_mlp_one_after_the_other():
    torch.manual_seed(0)
    block = MixerBlock(64, "mamba1").eval()
    x = torch.randn(2, 64, 6)
    y = x.mT + block.mixer(block.norm1(x.mT))
    y = y + block.mlp.fc2(nn.functional.gelu(block.mlp.fc1(block.norm2(y))))
    torch.testing.assert_close(block(x), y.mT)
    assert block.mlp.fc1.out_features == 4 * 64 and isinstance(block.mlp, MLP)


def test_a_convolution_block_is_convolution_eight_groups_and_mish():
    torch.manual_seed(0)
    block, x = ConvBlock(5, 16), torch.randn(2, 5, 8)
    convolution, norm, _ = block.block
    expected = nn.functional.conv1d(x, convolution.weight, convolution.bias, padding=2)
    expected = nn.functional.group_norm(expected, 8, norm.weight, norm.bias)
    torch.testing.assert_close(block(x), expected * torch.tanh(nn.functional.softplus(expected)))


@pytest.mark.parametrize("add", [add_kept, add_masked])
def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean(add):
    torch.manual_seed(0)
    x = torch.rand(4000, 3, 2) + 1
    kept = narrow("dp3_mamba", "paper").draw_kept(len(x), x.device)[0]
    torch.testing.assert_close(add(x, lambda rest: rest, kept, 0.2) - x, x * kept[:, None, None] / 0.8)
    assert {*kept.tolist()} == {0, 1} and abs(kept.mean() - 0.8) < 0.02


def test_only_training_drops_paths():
    denoiser, given = narrow("dp3_mamba").train(), inputs(16)
    assert {block.drop_path_rate for block in denoiser.modules() if isinstance(block, MixerBlock)} == {0.2}
    torch.manual_seed(0)
    assert not torch.equal(denoiser(*given), denoiser(*given))
    denoiser.eval()
    assert torch.equal(denoiser(*given), denoiser(*given))


def test_the_step_embedding_is_that_of_the_official_code():
    step = torch.tensor([0, 1, 17, 99])
    rates = 10000.0 ** (-torch.arange(64, dtype=torch.float64) / 63)
    expected = torch.cat([(step[:, None] * rates).sin(), (step[:, None] * rates).cos()], dim=1)
    torch.testing.assert_close(StepEmbedding(128)(step).double(), expected, rtol=0, atol=1e-5)
