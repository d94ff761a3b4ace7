"""A plain ViT trained for a few steps on 2 ranks: its checkpoint in h5py, its exported weights in timm."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer

DATASET = pathlib.Path(os.environ["COHORT_DATASET"])
DESCRIPTION = json.loads((DATASET / "dataset.json").read_text())
SPLIT = DESCRIPTION["splits"][-1]
CONFIG = """
data: {path: %s, train_split: %s}
model: {name: vit_tiny, patch_size: 16, width: 48, depth: 2, heads: 3}
sampler: {groups_per_step: 2, images_per_group: 8}
train: {max_steps: 3}
"""


def cohort(*arguments, ranks=1):
    command = [os.environ["MPIEXEC"], "-n", str(ranks), os.environ["COHORT_PROGRAM"], *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {command}\n{done.stdout}{done.stderr}")


def read(name):
    columns = [h5py.File(DATASET / shard["file"], "r")[name][:] for shard in SPLIT["shards"]]
    return torch.from_numpy(numpy.concatenate(columns))


def normalised_images():
    mean, deviation = (torch.tensor(DESCRIPTION[key]).view(1, -1, 1, 1) for key in ("mean", "deviation"))
    return ((read("images") - mean) / deviation).float()


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.run_folder = cls.folder / "run"
        config = cls.folder / "vit.yaml"
        config.write_text(CONFIG % (DATASET, DESCRIPTION["splits"][0]["name"]))
        cohort("train", config, f"run_dir={cls.run_folder}", ranks=2)
        cohort("export", "--run", cls.run_folder, "--out", cls.folder / "weights.safetensors")
        cls.weights = safetensors.torch.load_file(cls.folder / "weights.safetensors")
        cls.model = cls.timm_model()

    @classmethod
    def timm_model(cls):
        layout = DESCRIPTION["images"]
        model = VisionTransformer(
            img_size=(layout["height"], layout["width"]), patch_size=16, in_chans=layout["channels"],
            num_classes=len(DESCRIPTION["labels"][0]["classes"]), embed_dim=48, depth=2, num_heads=3)
        model.load_state_dict(cls.weights, strict=True)
        return model.eval()

    def test_checkpoint_holds_the_exported_weights_and_the_optimizer_state(self):
        latest = (self.run_folder / "checkpoints" / "latest").read_text().strip()
        with h5py.File(self.run_folder / "checkpoints" / latest / "state.h5", "r") as state:
            for name, weight in self.weights.items():
                numpy.testing.assert_array_equal(state["model/" + name][:], weight.numpy(), err_msg=name)
                self.assertEqual(state["optimizer/exp_avg/" + name].shape, tuple(weight.shape))
                self.assertGreaterEqual(state["optimizer/exp_avg_sq/" + name][:].min(), 0)

    def test_timm_gives_the_features_of_extract(self):
        out = self.folder / "features.h5"
        cohort("extract", "--run", self.run_folder, "--split", SPLIT["name"], "--out", out, ranks=2)
        with torch.inference_mode():
            expected = self.model.forward_features(normalised_images())[:, 0]
        with h5py.File(out, "r") as file:
            numpy.testing.assert_allclose(file["features"][:], expected.numpy(), rtol=1e-5, atol=1e-5)

    def test_timm_gives_the_scores_of_eval(self):
        out = self.folder / "scores.jsonl"
        cohort("eval", "--run", self.run_folder, "--split", SPLIT["name"], "--out", out)
        scores = json.loads(out.read_text())
        labels = read("labels/" + DESCRIPTION["labels"][0]["name"]).long()
        with torch.inference_mode():
            logits = self.model(normalised_images())
        loss = torch.nn.functional.cross_entropy(logits.double(), labels, ignore_index=-1).item()
        accuracy = (logits.argmax(1) == labels)[labels >= 0].double().mean().item()
        self.assertAlmostEqual(scores["loss"], loss, delta=1e-5 * abs(loss))
        self.assertAlmostEqual(scores["accuracy"], accuracy, delta=1e-8)


if __name__ == "__main__":
    unittest.main()
