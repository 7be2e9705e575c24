"""What a bug report needs: versions, device, compilers, depth source, paths."""

from __future__ import annotations

import platform
from shutil import which

from mp_lib.model.backends import has_compiler
from mp_lib.sim.backend import prepare_opengl
from mp_lib.system import provenance
from mp_lib.system.compiler import find_compiler
from mp_lib.system.device import choose_device, device_name, processor_model
from mp_lib.system.extras import missing_modules
from mp_lib.system.paths import checkout, root
from mp_lib.system.workers import usable_cores


def facts() -> dict[str, str]:
    """Fact and value, in words; nothing of it fails because something is not installed."""
    return {
        "mp_lib": f"commit {provenance.commit()}, {'checkout ' + str(checkout()) if checkout() else 'installed'}",
        "versions": ", ".join(" ".join(each) for each in provenance.versions().items()),
        "system": f"{platform.platform()}, {processor_model() or 'processor unknown'}, {usable_cores()} cores",
        "device": device_name(choose_device("auto")),
        "C compiler": find_compiler() or "none: slower loops in PyTorch and NumPy are used",
        "C++ compiler": "found" if has_compiler() else "none: nothing is compiled by torch.compile",
        "depth images": "no simulator is installed" if missing_modules("sim") else prepare_opengl(),
        "ONNX Runtime": "missing" if missing_modules("deploy") else "found",
        "git": which("git") or "none: results do not know their commit",
        "root (MP_ROOT)": str(root()),
    }
