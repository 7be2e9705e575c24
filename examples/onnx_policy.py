"""Run a policy that `python -m mp_lib export --to onnx RUN FOLDER` wrote, with NumPy and ONNX Runtime alone."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Policy:
    def __init__(self, folder):
        folder = Path(folder)
        self.facts = json.loads((folder / "policy.json").read_text())["facts"]
        self.arrays = np.load(folder / "arrays.npz")
        if self.facts["actions"] != "absolute":
            raise SystemExit("this policy's actions are relative to the state: run it by mp_lib, which undoes that")
        self.encoder = onnxruntime.InferenceSession(folder / "encoder.onnx")
        self.denoiser = onnxruntime.InferenceSession(folder / "denoiser.onnx")

    def chunk(self, point_cloud, state, noise):
        """Actions (T, A) in the robot's units of point_cloud (To, N, 3), state (To, S), noise (T, A); all float32."""
        facts, arrays, actions = self.facts, self.arrays, noise[None]
        given = self.encoder.run(None, {"point_cloud": point_cloud[None], "state": state[None]})[0]
        table, rows, alphas = arrays["table"], arrays["steps"].tolist(), arrays["alphas"].astype(float)
        stride = facts["num_train_steps"] // facts["num_inference_steps"]
        for step in range(stride * (facts["num_inference_steps"] - 1), -1, -stride):
            x0 = self.denoiser.run(None, {"actions": actions, "modulation": table[[rows.index(step)]] + given})[0]
            now, then = alphas[step], alphas[step - stride] if step else 1.0
            keep = math.sqrt((1 - then) / (1 - now))
            actions = keep * actions - keep * math.sqrt(now) * x0 + math.sqrt(then) * x0.clip(-1, 1)
        scale, offset = arrays["action_scale"], arrays["action_offset"]
        return np.where(scale == 0, offset, (actions[0] - offset) / np.where(scale == 0, 1, scale))


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    observed = np.load(sys.argv[2])  # an .npz with point_cloud, state, noise
    actions = policy.chunk(observed["point_cloud"], observed["state"], observed["noise"])
    first = policy.facts["n_obs_steps"] - 1  # of those that are executed
    print(json.dumps(actions[first : first + policy.facts["n_action_steps"]].tolist()))
