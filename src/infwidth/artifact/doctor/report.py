# SPDX-License-Identifier: Apache-2.0
"""All that the doctor looks at, as one report with a verdict."""

import importlib.metadata
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from infwidth.artifact.doctor import parts, speed, steps
from infwidth.training.devices import gpu_count

_SOFTWARE = ("infwidth", "jax", "jaxlib", "flax", "optax", "numpy")


def examine(show: Callable[[dict[str, Any]], None] = lambda row: None) -> dict[str, Any]:
    """Looks at the devices of this process.

    Args:
      show: called with each check's row as it is done.

    Returns:
      JSON values: `devices`, `checks`, `unchecked` (variants), `chosen`, `speed`, `problems`, one
      line each, and `verdict`, "sound" where there are none, else "wrong".
    """
    start = time.perf_counter()
    devices = jax.local_devices()
    first = devices[0]
    checks = []
    to_do = [
        *(partial(parts.check_attention, precision) for precision in steps.PRECISIONS),
        *(partial(parts.check_loss, precision) for precision in steps.PRECISIONS),
        *steps.checks(devices),
    ]
    for check in to_do:
        checks.append(_attempted(check))
        show(checks[-1])
    size = speed.size_here()
    # bfloat16 is emulated on CPUs, and of no use there.
    timed = steps.PRECISIONS if first.platform != "cpu" else steps.PRECISIONS[:1]
    speeds = [_attempted(partial(speed.measure, precision, size)) for precision in timed]
    problems = _missing_gpus(first) + [
        f"{row.get('check', 'speed')}, {row['precision']}, {row.get('device', first)}: "
        + (row["error"] if "error" in row else f"off by {row['difference']:.2g}")
        for row in checks + speeds
        if "error" in row or not row.get("sound", True)
    ]
    return {
        "verdict": "wrong" if problems else "sound",
        "problems": problems,
        "software": {name: importlib.metadata.version(name) for name in _SOFTWARE},
        "devices": [_described(device) for device in devices],
        "chosen": [
            parts.chosen(precision, size.vocabulary_size, size.batch * size.context)
            for precision in steps.PRECISIONS
        ],
        "checks": checks,
        "unchecked": steps.unchecked(),
        "speed": speeds,
        "seconds": time.perf_counter() - start,
    }


def _attempted(check: partial) -> dict[str, Any]:
    try:
        return check()
    # Whatever a device or its driver raises is what is looked for.
    except Exception as error:
        name = getattr(check.func, "__name__", "check")
        text = (str(error) or type(error).__name__).splitlines()[0]
        arguments = [str(argument) for argument in check.args]
        precision = next(a for a in arguments if a in steps.PRECISIONS)
        return {"check": f"{name} {' '.join(arguments)}", "precision": precision, "error": text}


def _missing_gpus(first: jax.Device) -> list[str]:
    count = gpu_count()
    if count == 0 or first.platform == "gpu":
        return []
    return [f"{count} NVIDIA GPUs are here, but JAX finds none: install the lock `cuda` (make env)"]


def _described(device: jax.Device) -> dict[str, Any]:
    memory = device.memory_stats() or {}
    return {
        "device": str(device),
        "platform": device.platform,
        "kind": device.device_kind,
        "memory_bytes": memory.get("bytes_limit"),
        "peak_bytes_in_use": memory.get("peak_bytes_in_use"),
    }
