"""ONNX Runtime as all that runs exported networks starts it; needs no torch."""

from __future__ import annotations


def start_session(model: bytes, threads: int):
    """An exported network, ready to run on the CPU with so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; its optimiser tells what it leaves alone
    # Spinning threads would take the core of whatever runs between two calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
