"""Learning rates of 60 updates."""

import numpy as np

WARM = {"base_lr": 0.3, "warmup_steps": 5, "warmup_begin_lr": 0.1}
CASES = [
    ("FactorScheduler", {"step": 7, "factor": 0.5}),
    ("FactorScheduler", {"step": 3, "factor": 0.3, "stop_factor_lr": 0.01, **WARM}),
    ("MultiFactorScheduler", {"step": [4, 9, 30], "factor": 0.1, "base_lr": 0.7}),
    ("MultiFactorScheduler", {"step": [6, 7], "factor": 0.9, "warmup_mode": "constant", **WARM}),
    ("PolyScheduler", {"max_update": 40}),
    ("PolyScheduler", {"max_update": 50, "pwr": 3, "final_lr": 0.05, **WARM}),
    ("CosineScheduler", {"max_update": 40, "base_lr": 0.2}),
    ("CosineScheduler", {"max_update": 50, "final_lr": 0.05, "warmup_mode": "constant", **WARM}),
]


def answers(mx) -> dict[str, np.ndarray]:
    found = {}
    for i, (name, arguments) in enumerate(CASES):
        schedule = getattr(mx.lr_scheduler, name)(**arguments)
        found[f"schedule{i}"] = np.array([schedule(n) for n in range(60)])
    return found
