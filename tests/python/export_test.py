"""A plain ViT trained for a few steps on 2 ranks: its checkpoint in h5py, its exported weights in timm."""

import csv
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import numpy
import pyarrow.parquet
import safetensors.torch
import torch
from timm.models._manipulate import adapt_input_conv
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
    return done.stdout


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
        cohort("checkpoint", "export", cls.run_folder, "--out", cls.folder / "weights.safetensors")
        cls.weights = safetensors.torch.load_file(cls.folder / "weights.safetensors")
        cls.model = cls.timm_model(cls.weights)

    @staticmethod
    def timm_model(weights):
        layout = DESCRIPTION["images"]
        model = VisionTransformer(
            img_size=(layout["height"], layout["width"]), patch_size=16, in_chans=layout["channels"],
            num_classes=len(DESCRIPTION["labels"][0]["classes"]), embed_dim=48, depth=2, num_heads=3)
        model.load_state_dict(weights, strict=True)
        return model.eval()

    def test_checkpoint_holds_the_exported_weights_and_the_optimizer_state(self):
        latest = (self.run_folder / "checkpoints" / "latest").read_text().strip()
        with h5py.File(self.run_folder / "checkpoints" / latest / "state.h5", "r") as state:
            for name, weight in self.weights.items():
                numpy.testing.assert_array_equal(state["model/" + name][:], weight.numpy(), err_msg=name)
                self.assertEqual(state["optimizer/exp_avg/" + name].shape, tuple(weight.shape))
                self.assertGreaterEqual(state["optimizer/exp_avg_sq/" + name][:].min(), 0)

    def test_timm_gives_the_features_and_logits_of_extract(self):
        out = self.folder / "features.h5"
        cohort("extract", "--run", self.run_folder, "--split", SPLIT["name"], "--logits", "--out", out, ranks=2)
        with torch.inference_mode():
            features = self.model.forward_features(normalised_images())[:, 0]
            logits = self.model(normalised_images())
        with h5py.File(out, "r") as file:
            numpy.testing.assert_allclose(file["features"][:], features.numpy(), rtol=1e-5, atol=1e-5)
            numpy.testing.assert_allclose(file["logits"][:], logits.numpy(), rtol=1e-5, atol=1e-5)

    def test_tables_of_features_and_predictions_are_those_of_the_hdf5_file(self):
        of_run = ("--run", self.run_folder, "--split", SPLIT["name"])
        files = {ending: self.folder / ("table" + ending) for ending in (".h5", ".parquet", ".csv")}
        cohort("extract", *of_run, "--logits", "--out", files[".h5"], ranks=2)
        cohort("extract", *of_run, "--out", files[".parquet"], ranks=2)
        cohort("predict", *of_run, "--out", files[".csv"], ranks=2)
        table = pyarrow.parquet.read_table(files[".parquet"])
        with open(files[".csv"], newline="", encoding="utf-8") as lines:
            predicted = list(csv.DictReader(lines))
        key, label = DESCRIPTION["contexts"][0]["name"], DESCRIPTION["labels"][0]
        with h5py.File(files[".h5"], "r") as file:
            features, logits = file["features"][:], torch.tensor(file["logits"][:])
            ids = list(file["id"].asstr()[:])
            names = list(file["context_names/" + key].asstr()[:][file["context/" + key][:]])
            self.assertEqual(file.attrs["step"], 3)
            self.assertEqual(file.attrs["dataset"], DESCRIPTION["name"])
        self.assertEqual(table["id"].to_pylist(), ids)
        self.assertEqual(table[key].to_pylist(), names)
        numpy.testing.assert_array_equal(numpy.stack(table["features"].to_numpy()), features)
        self.assertEqual(table.schema.metadata[b"step"], b"3")
        self.assertEqual([row[key] for row in predicted], names)
        probability = logits.softmax(1).numpy()
        for i, name in enumerate(label["classes"]):
            given = numpy.array([row["probability_" + name] for row in predicted], numpy.float32)
            numpy.testing.assert_allclose(given, probability[:, i], rtol=1e-6)
        self.assertEqual([row["prediction"] for row in predicted],
                         [label["classes"][i] for i in probability.argmax(1)])

    def test_the_weights_that_training_leaves_are_the_exported_ones(self):
        left = safetensors.torch.load_file(self.run_folder / "weights.safetensors")
        self.assertEqual(left.keys(), self.weights.keys())
        for name, weight in left.items():
            self.assertTrue(torch.equal(weight, self.weights[name]), name)

    def test_import_adapts_the_channels_as_timm_does(self):
        rgb = VisionTransformer(img_size=32, patch_size=16, in_chans=3, num_classes=7, embed_dim=48, depth=2, num_heads=3)
        safetensors.torch.save_file(rgb.state_dict(), self.folder / "rgb.safetensors")
        out = self.folder / "fitted.safetensors"
        text = cohort("checkpoint", "import", self.folder / "rgb.safetensors", "--config", self.folder / "vit.yaml",
                      "--out", out)
        fitted = safetensors.torch.load_file(out)
        self.timm_model(fitted)
        channels = DESCRIPTION["images"]["channels"]
        expected = adapt_input_conv(channels, rgb.state_dict()["patch_embed.proj.weight"])
        torch.testing.assert_close(fitted["patch_embed.proj.weight"], expected)
        self.assertTrue(torch.equal(fitted["blocks.1.mlp.fc1.weight"], rgb.state_dict()["blocks.1.mlp.fc1.weight"]))
        self.assertIn("pos_embed: 2 x 2 patches -> ", text)
        self.assertIn("head.weight: [7, 48], the model needs ", text)

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
