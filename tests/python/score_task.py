"""Scorecards of tasks, by tests/support/score_task.cpp, which has to print the same text on 1 to 4 ranks."""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy
from safetensors.numpy import save_file

RANKS = (1, 2, 3, 4)


def run(file, ranks, settings):
    command = [os.environ["MPIEXEC"], "-n", ranks, os.environ["COHORT_SCORE_TASK"], file, *settings]
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


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
