"""Scorecards of tasks, by tests/support/score_task.cpp, which has to print the same text on 1 to 4 ranks."""

import atexit
import json
import os
import pathlib
import subprocess
import tempfile

import numpy
from safetensors.numpy import save_file

RANKS = (1, 2, 3, 4)


class Job:
    """score_task on some ranks, started once: most of a short job is its start."""

    def __init__(self, ranks):
        self.ranks, self.asked, self.folder = ranks, 0, tempfile.TemporaryDirectory()
        command = [os.environ["MPIEXEC"], "-n", str(ranks), os.environ["COHORT_SCORE_TASK"], self.folder.name]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        atexit.register(self.end)

    def ask(self, words):
        file = pathlib.Path(self.folder.name) / str(self.asked)
        file.with_suffix(".new").write_text("\t".join(map(str, words)))
        file.with_suffix(".new").rename(file)
        self.asked += 1

    def end(self):
        self.ask([])
        self.process.wait()

    def score(self, words):
        self.ask(words)
        text = self.process.stdout.readline()
        assert text, f"score_task ended on {self.ranks} ranks with code {self.process.wait()}"
        return text


jobs = {}  # by number of ranks


def run(file, ranks, settings):
    if ranks not in jobs:
        jobs[ranks] = Job(ranks)
    return jobs[ranks].score([file, *settings])


def score(task, answers, target, *, row=None, context=None, keys=None, names=(), images_per_pass=7, settings=()):
    """The scorecard as a dict.

    answers: arrays by name, [N, …]; target: [N, …]; either may be a list of N arrays of different lengths. context: [N, keys] numbers of the values that keys = {name: values} has.
    """
    tensors = {}

    def add(name, values):
        if isinstance(values, list):
            tensors[name + "_offsets"] = numpy.cumsum([0] + [len(one) for one in values], dtype=numpy.int64)
            values = numpy.concatenate(values)
        tensors[name] = numpy.ascontiguousarray(values)

    add("target", target)
    for name, values in answers.items():
        add("answer." + name, values)
    if row is not None:
        tensors["row"] = numpy.asarray(row, numpy.int64)
    if context is not None:
        tensors["context"] = numpy.ascontiguousarray(context, numpy.int32)
    about = {"task": task, "names": list(names), "pass": images_per_pass}
    about["keys"] = [{"name": name, "values": list(values)} for name, values in (keys or {}).items()]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "images.safetensors"
        save_file(tensors, file, {"json": json.dumps(about)})
        texts = [run(file, ranks, settings) for ranks in RANKS]
    for ranks, text in zip(RANKS, texts):
        assert text == texts[0], f"another scorecard on {ranks} ranks than on {RANKS[0]}:\n{text}\n{texts[0]}"
    return json.loads(texts[0])


def values(scores):
    """{name: value} of a list of scores."""
    return {one["name"]: one["value"] for one in scores}


def groups(groups):
    """{name: {score: value}} of contexts or classes."""
    return {one["name"]: values(one["scores"]) for one in groups}
