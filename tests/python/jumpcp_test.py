"""Cells of JUMP-CP as they are published (made up here), converted: splits are NumPy's, labels those of the published loaders."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import h5py
import json
import numpy
import pyarrow
import pyarrow.parquet

WELLS = ["A01", "A02", "B01", "B02", "C01", "P24"]
# The sample of each well; None: DMSO. P24 is not on the platemap.
SAMPLES = {"A01": "s3", "A02": None, "B01": "s1", "B02": "s2", "C01": "s3"}
TARGETS = [("s2", "EGFR"), ("s3", "AKT1"), (None, None), ("s1", "EGFR"), ("unused", "TP53")]


def write_parquet(file, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def convert(folder, *arguments, ranks=2):
    command = [os.environ["MPIEXEC"], "-n", str(ranks), os.environ["COHORT_DATA_PROGRAM"], "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder)


def rows_of(folder):
    """id -> (split, plate, well, target, pixels)"""
    description = json.loads((folder / "dataset.json").read_text())
    contexts = {column["name"]: column["values"] for column in description["contexts"]}
    classes = description["labels"][0]["classes"]
    rows = {}
    for split in description["splits"]:
        for shard in split["shards"]:
            with h5py.File(folder / shard["file"]) as file:
                for i, name in enumerate(file["id"].asstr()[:]):
                    label = file["labels/target"][i]
                    rows[name] = (split["name"], contexts["plate"][file["context/plate"][i]], contexts["well"][file["context/well"][i]],
                                  None if label < 0 else classes[label], file["images"][i])
    return rows, classes


class JumpCp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        random = numpy.random.default_rng(1)
        cls.cells = []  # (id, well, pixels) of all plates in order
        for plate, count in (("BR00116991", 25), ("BR00117000", 18)):
            ids, paths, wells = [], [], []
            (cls.folder / "jumpcp" / plate).mkdir(parents=True)
            for i in range(count):
                well = WELLS[i % len(WELLS)]
                name = f"{plate}_{well}_{i % 9 + 1}_{i}"
                pixels = random.integers(0, 256, (8, 12, 10), dtype="uint8")
                numpy.save(cls.folder / "jumpcp" / plate / f"{i}.npy", pixels)
                ids.append(name), wells.append(well), paths.append(f"s3://some-bucket/jumpcp/{plate}/{i}.npy")
                cls.cells.append((name, well, pixels))
            write_parquet(cls.folder / "jumpcp" / f"{plate}.pq", path=paths, ID=ids, well_loc=wells, area=[1.5] * count)
        tables = cls.folder / "jumpcp" / "platemap_and_metadata"
        tables.mkdir()
        write_parquet(tables / "JUMP-Target-1_compound_platemap.tsv", well_position=list(SAMPLES), broad_sample=list(SAMPLES.values()))
        (tables / "JUMP-Target-1_compound_metadata.tsv").write_text(
            "broad_sample\ttarget\n" + "".join(f"{sample or ''}\t{target or ''}\n" for sample, target in TARGETS))
        cls.command = ["jump-cp", "--root", "jumpcp", "--plate", "BR00116991.pq", "--plate", "BR00117000.pq"]

    def converted(self, name, *arguments, ranks=2):
        done = convert(self.folder, *self.command, "--out", name, *arguments, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        return rows_of(self.folder / name)

    def expected_splits(self, *ends):
        order = numpy.random.RandomState(0).permutation(len(self.cells))
        names = [self.cells[i][0] for i in order]
        return [set(part) for part in numpy.split(numpy.array(names), ends)]

    def test_halves_are_those_of_contextvit(self):
        rows, _ = self.converted("halves")
        train, test = self.expected_splits(len(self.cells) // 2)
        self.assertEqual({name for name, row in rows.items() if row[0] == "train"}, train)
        self.assertEqual({name for name, row in rows.items() if row[0] == "test"}, test)

    def test_fifths_are_those_of_channelvit(self):
        rows, _ = self.converted("fifths", "--splits", "channelvit")
        count = len(self.cells)
        parts = self.expected_splits(int(0.6 * count), int(0.6 * count) + int(0.2 * count))
        for split, part in zip(("train", "valid", "test"), parts):
            self.assertEqual({name for name, row in rows.items() if row[0] == split}, part)

    def test_labels_contexts_and_pixels(self):
        rows, classes = self.converted("labels", "--splits", "none", ranks=3)
        # In the order of the metadata: s2 EGFR, s3 AKT1, DMSO control, s1 EGFR.
        self.assertEqual(classes, ["control", "EGFR", "AKT1"])
        target = {"A01": "AKT1", "A02": "control", "B01": "EGFR", "B02": "EGFR", "C01": "AKT1", "P24": None}
        self.assertEqual(len(rows), len(self.cells))
        for name, well, pixels in self.cells:
            self.assertEqual(rows[name][:4], ("train", name.split("_")[0], well, target[well]))
            self.assertTrue((rows[name][4] == pixels).all())

    def test_what_is_missing_is_named(self):
        done = convert(self.folder, *self.command, "--perturbation", "orf", "--out", "orf")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("there is no platemap of the perturbation 'orf'"), 1, done.stderr)

    def test_a_parquet_manifest_gives_the_shards_of_a_csv(self):
        table = {"path": [f"jumpcp/BR00116991/{i}.npy" for i in range(6)], "label": ["x", "y"] * 3, "site": ["a", "b", "c"] * 2}
        write_parquet(self.folder / "list.parquet", **table)
        lines = zip(*table.values())
        (self.folder / "list.csv").write_text(",".join(table) + "\n" + "".join(",".join(line) + "\n" for line in lines))
        for kind in ("parquet", "csv"):
            done = convert(self.folder, "manifest", f"list.{kind}", "--label", "label", "--context", "site", "--axes", "CHW", "--name", "m",
                           "--out", kind)
            self.assertEqual(done.returncode, 0, done.stderr)
        shards = [sorted(file for file in (self.folder / kind).rglob("*.h5")) for kind in ("parquet", "csv")]
        self.assertEqual(*[[file.read_bytes() for file in files] for files in shards])


if __name__ == "__main__":
    unittest.main()
