"""The mirror of a run's metrics never asks for a login, and finds the one that is there."""

import pytest

from mp_lib.learning.metrics import has_login
from tests.learning.toy_run import run_elsewhere


@pytest.mark.parametrize(
    ("variables", "lines", "found"),
    [
        ({}, None, False),
        ({}, "machine elsewhere.org login a password b", False),
        ({}, "no netrc file", False),
        ({}, "machine api.wandb.ai login user password key", True),
        ({"WANDB_BASE_URL": "https://own.org:8080"}, "machine own.org login user password key", True),
        ({"WANDB_BASE_URL": "https://own.org"}, "machine api.wandb.ai login user password key", False),
        ({"WANDB_API_KEY": "key"}, None, True),
    ],
)
def test_a_login_is_found_where_it_is_kept(tmp_path, monkeypatch, variables, lines, found):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"NETRC": str(tmp_path / "netrc")} | variables).items():
        monkeypatch.setenv(name, value)
    if lines:
        (tmp_path / "netrc").write_text(lines + "\n")
        (tmp_path / "netrc").chmod(0o600)
    assert has_login() is found


@pytest.mark.slow
@pytest.mark.parametrize("mode", [None, "online"])
def test_the_mirror_is_offline_unless_somebody_is_logged_in(tmp_path, toy_demos, mode):
    variables = {"HOME": str(tmp_path), "WANDB_MODE": mode, "WANDB_API_KEY": None, "NETRC": None}
    with run_elsewhere(toy_demos.path, tmp_path / "run", **variables) as process:
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0 and (tmp_path / "run" / "result.json").exists(), output
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1, output
    assert not any(word in output.lower() for word in ("wandb.ai/authorize", "api key", "choice")), output
