"""The events of a run as TensorBoard itself reads them, also after it went on."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CONFIG = """
data: {path: %s}
model: {name: vit_tiny, patch_size: 16, width: 48, depth: 2, heads: 3}
context: {keys: [context]}
sampler: {groups_per_step: 2, images_per_group: 8}
checkpoint: {every_steps: 2}
eval: {neighbours: [5]}
"""


class TensorBoard(unittest.TestCase):
    def test_scalars_are_those_of_the_metrics(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            config = folder / "vit.yaml"
            config.write_text(CONFIG % os.environ["COHORT_DATASET"])
            for steps in (3, 5):  # the second time from step 2 or 3 on
                subprocess.run(
                    [os.environ["MPIEXEC"], "-n", "2", os.environ["COHORT_PROGRAM"], "train", config,
                     f"run_dir={folder / 'run'}", f"train.max_steps={steps}"],
                    check=True, capture_output=True, stdin=subprocess.DEVNULL)
            lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
            events = EventAccumulator(str(folder / "run" / "tensorboard"))
            events.Reload()

            losses = [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
            self.assertEqual([step for step, _ in losses], [1, 2, 3, 4, 5])
            self.assertEqual(len(events.Scalars("train/loss")), 5)
            for scalar, (step, loss) in zip(events.Scalars("train/loss"), losses):
                self.assertEqual(scalar.step, step)
                self.assertAlmostEqual(scalar.value, loss, places=6)
            evaluations = [line for line in lines if line["kind"] == "evaluation"]
            self.assertGreater(len(evaluations), 0)
            for line in evaluations:
                title = line["split"] + (", " + line["classifier"] if "classifier" in line else "")
                values = {scalar.step: scalar.value for scalar in events.Scalars(title + "/accuracy")}
                self.assertAlmostEqual(values[line["step"]], line["accuracy"], places=6)
            self.assertIn("features/effective_rank", events.Tags()["scalars"])


if __name__ == "__main__":
    unittest.main()
