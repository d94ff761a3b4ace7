"""What the comparisons share: starting programs on ranks, taking turns, tables."""
import argparse
import datetime
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300  # for one run of one program


def parser(document, rounds=3):
    made = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="how often each program runs; they take turns")
    made.add_argument("--programs", type=Path, default=ROOT / "build/release/bin", help="folder of cohort, cohort-data and cohort-perf")
    made.add_argument("--json", type=Path, help="write all measurements to this file")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    return made


def environment(ranks=1, threads=1):
    """Threads of each rank; what Open MPI wants to be told as root and with more ranks than cores."""
    result = dict(os.environ, OMP_NUM_THREADS=str(threads))
    if os.geteuid() == 0:
        result |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
    if ranks > len(os.sched_getaffinity(0)):
        result |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_mpi_yield_when_idle": "1"}
    return result


def output_of(command, ranks=1, threads=1, with_log=False):
    """Standard output; with the log, which goes to standard error, behind it."""
    command = [str(word) for word in command]
    done = subprocess.run(command, env=environment(ranks, threads), capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if with_log else "")


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def cohort_perf(options, arguments, ranks=None, table=None, threads=1):
    """Rows of a command of cohort-perf; with `ranks` under mpirun. `table`: of one of its tables alone."""
    command = [options.programs / "cohort-perf", *arguments, "--json"]
    if ranks:
        command = ["mpirun", "-n", ranks, *command]
    return [line for line in json_lines(output_of(command, ranks or 1, threads)) if line["kind"] == "row" and table in (None, line["benchmark"])]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def workers(kind, ranks, threads=1):
    """Runs the calling script on `ranks` processes for torch.distributed, with --worker KIND; what rank 0 printed last, as JSON."""
    shared = dict(environment(threads=threads), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE=str(ranks))
    command = [sys.executable, *sys.argv, "--worker", kind]
    processes = [subprocess.Popen(command, env=dict(shared, RANK=str(rank)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for rank in range(ranks)]
    try:
        outputs = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
        sys.exit(f"{kind} did not end within {TIMEOUT_SECONDS} s: run it again, or with fewer steps")
    for process, (_, errors) in zip(processes, outputs):
        if process.returncode != 0:
            sys.exit(f"{kind} failed:\n{errors}")
    return json_lines(outputs[0][0])[-1]


def in_turns(programs, rounds):
    """{name: function} -> {name: [result of each round]}: a change of the machine's load meets all of them."""
    samples = {name: [] for name in programs}
    for number in range(rounds):
        for name, run in programs.items():
            samples[name].append(run())
            print(f"# round {number + 1}/{rounds}: {name} {samples[name][-1]}", file=sys.stderr)
    return samples


def ratio(ours, theirs):
    """Median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def processor():
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def markdown(heading, lines):
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def finish(options, what, heading, lines, samples):
    """Prints the table, with what was measured where and how, and writes the file that --json asks for."""
    arguments = " ".join(sys.argv[1:]).split(" --json")[0]
    told = (f"{datetime.date.today()}, {processor()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}: "
            f"{what} (`perf/peers/{Path(sys.argv[0]).name} {arguments}`, medians of {options.rounds} rounds in turns)")
    text = f"{told}\n\n{markdown(heading, lines)}"
    print(text)
    if options.json:
        measured = {key: value for key, value in vars(options).items() if key not in ("programs", "dir", "json", "worker")}  # no paths of this machine
        options.json.write_text(json.dumps({"options": measured, "table": text, "samples": samples}, indent=1) + "\n")
