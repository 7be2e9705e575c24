"""Run what `python -m mp_lib export --to onnx RUN FOLDER` wrote: python onnx_policy.py FOLDER OBSERVED.npz"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Policy:
    def __init__(self, folder):
        self.facts = json.loads(Path(folder, "policy.json").read_text())["facts"]
        if self.facts["actions"] != "absolute":
            raise SystemExit("this policy's actions are relative to the state, which mp_lib undoes and this does not")
        self.arrays = dict(np.load(Path(folder, "arrays.npz")))
        networks = [Path(folder, f"{name}.onnx") for name in ("encoder", "denoiser")]
        self.encoder, self.denoiser = map(onnxruntime.InferenceSession, networks)

    def chunk(self, point_cloud, state, noise):
        """Actions (T, A) in the robot's units of point_cloud (To, N, 3), state (To, S), noise (T, A); all float32."""
        facts, arrays, actions = self.facts, self.arrays, noise[None]
        given = self.encoder.run(None, {"point_cloud": point_cloud[None], "state": state[None]})[0]
        table, rows, alphas = arrays["table"], arrays["steps"].tolist(), arrays["alphas"].astype(float)
        stride = facts["num_train_steps"] // facts["num_inference_steps"]
        for step in range(stride * (facts["num_inference_steps"] - 1), -1, -stride):
            x0 = self.denoiser.run(None, {"actions": actions, "modulation": table[[rows.index(step)]] + given})[0]
            now, then = float(alphas[step]), float(alphas[step - stride]) if step else 1.0
            keep = ((1 - then) / (1 - now)) ** 0.5
            actions = keep * actions - keep * now**0.5 * x0 + then**0.5 * x0.clip(-1, 1)
        scale, offset = arrays["action_scale"], arrays["action_offset"]
        return np.where(scale == 0, offset, (actions[0] - offset) / np.where(scale == 0, 1, scale))


if __name__ == "__main__":
    observed = np.load(sys.argv[2])  # point_cloud, state, noise
    policy = Policy(sys.argv[1])
    first = policy.facts["n_obs_steps"] - 1  # of those that are executed
    actions = policy.chunk(observed["point_cloud"], observed["state"], observed["noise"])
    print(json.dumps(actions[first : first + policy.facts["n_action_steps"]].tolist()))
