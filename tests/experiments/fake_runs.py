# SPDX-License-Identifier: Apache-2.0
"""Runs that train nothing, for tests of which runs an experiment asks for."""

import json
import math


class FakeRuns:
    """Answers with a loss that is least at `best_rate`; keeps the specs and writes what runs do."""

    def __init__(self, folder):
        self.folder = folder
        self.specs = []
        self.best_rate = lambda spec: 3.0

    def result(self, spec):
        self.specs.append(spec)
        best = self.best_rate(spec)
        loss = 2.0 + 0.1 * abs(math.log((spec.learning_rate or best) / best))
        result = {"status": "done", "steps": 2, "validation_loss": loss, "tokens": 8, "flops": 5}
        result |= {"rate_unit": 1.0, "device_seconds": 0.1, "device": "cpu"}
        result |= {"parameters": {}, "parameters_trained": 1, "optimizer_bytes": 4}
        if "test" in spec.splits:
            result["test_loss"] = loss + 0.5
        folder = self.folder / spec.key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps(result))
        rows = [{"step": step, "loss": 3.0 / step} for step in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return result
