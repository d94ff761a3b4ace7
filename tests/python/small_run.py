"""A run of a small vision transformer with contexts on the tests' dataset of nuclei, and commands on it."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

CONFIG = """
data: {path: %s}
model: {name: vit_tiny, patch_size: 16, width: 48, depth: 2, heads: 3}
context: {keys: [context]}
sampler: {groups_per_step: 2, images_per_group: 8}
optimizer: {lr: 3e-3}
train: {max_steps: 12}
"""


def cohort(*arguments):
    """On two ranks."""
    subprocess.run([os.environ["MPIEXEC"], "-n", "2", os.environ["COHORT_PROGRAM"], *map(str, arguments)],
                   check=True, capture_output=True, stdin=subprocess.DEVNULL)


def json_lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


class SmallRun(unittest.TestCase):
    """Its class has `folder`, and in it the `run`."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "vit.yaml").write_text(CONFIG % os.environ["COHORT_DATASET"])
        cls.run_folder = cls.folder / "run"
        cohort("train", cls.folder / "vit.yaml", f"run_dir={cls.run_folder}")
