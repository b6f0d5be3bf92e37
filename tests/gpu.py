"""All that wants a GPU, in stages of nine minutes at most, each a process of its own; results as JSON.

    make gpu                    on a machine with CUDA
    python tests/gpu.py bench   some stages: tests, bench, 19m, or a chapter by its number
    python tests/gpu.py --tiny  the same road at toy size on a CPU, to see that it is passable

Chapters run unchanged and strict, every output compared with the stored one. Results go to the folder
RESULTS, .cache/gpu if it is not set.
"""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("RESULTS", ROOT / ".cache/gpu")).resolve()
MINUTES = 9


def stages(tiny: bool) -> dict[str, list[str]]:
    """The command of every stage."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-s", "-n0"]
    study = [sys.executable, "tests/studies/nineteen_million.py", str(RESULTS / "19m")]
    found = {"tests": [*pytest, "tests/test_on_gpu.py"], "bench": [*pytest, "tests/bench/on_gpu.py"],
             "19m": [*study, "tiny" if tiny else "gpu"]}
    cells = [*pytest, "-p", "tests.nbval_plugin", "--nbval", "--nbval-current-env",
             "--nbval-cell-timeout", "600", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg"]
    for file in sorted(ROOT.glob("chapters/01_*.ipynb" if tiny else "chapters/[0-9]*.ipynb")):
        found[file.name[:2]] = [*cells, str(file.relative_to(ROOT))]
    return found


def run(name: str, command: list[str], device: str) -> dict[str, object]:
    """One stage: whether it went well, in how many seconds, and the end of what it said."""
    print(f"{name}: {' '.join(command)}", flush=True)
    env = os.environ | {"LMCORE_STRICT": "1", "LMCORE_DEVICE": device, "RESULTS": str(RESULTS)}
    start = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, timeout=60 * MINUTES, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        code, said = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, said = None, (late.stdout or b"").decode(errors="replace")
    seconds = round(time.monotonic() - start, 1)
    (RESULTS / f"{name}.log").write_text(said)
    print(f"{name}: {'good' if code == 0 else f'FAILED, exit {code}'} after {seconds} s", flush=True)
    return {"ok": code == 0, "exit": code, "seconds": seconds, "said": said[-2000:]}


def main(wanted: list[str], tiny: bool) -> int:
    RESULTS.mkdir(parents=True, exist_ok=True)
    all_ = stages(tiny)
    if unknown := set(wanted) - set(all_):
        print(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(all_)}", file=sys.stderr)
        return 2
    found = {name: run(name, all_[name], "cpu" if tiny else "cuda") for name in wanted or all_}
    (RESULTS / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(stage["ok"] for stage in found.values()) else 1


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main([a for a in arguments if a != "--tiny"], "--tiny" in arguments))
