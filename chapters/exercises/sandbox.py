"""Run a submission where it can harm nothing but itself.

Each gets a kernel of its own, in a folder of its own that is also its home, with a bare environment and a
time limit. Where bubblewrap works (Linux), that folder is all it can write and there is no network.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_locked
from traitlets import Any, Integer, default

PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "LMCORE_MIRROR")


def walls(room: Path, hidden: Path | None = None) -> list[str]:
    """The command that shuts another one into room, blind to hidden; [] where bubblewrap does not work."""
    out_of_sight = ["--tmpfs", str(hidden)] if hidden else []
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *out_of_sight,
               "--bind", str(room), str(room), "--unshare-net", "--unshare-pid", "--unshare-ipc",
               "--die-with-parent", "--unsetenv", "JPY_PARENT_PID"]
    works = shutil.which("bwrap") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


class Sandbox(Execute):
    """nbgrader's step that runs a notebook; here a submission that breaks loses only points of its own."""

    total = Integer(600, help="seconds for all cells together").tag(config=True)
    hidden = Any(None, help="a folder that submissions cannot see where bubblewrap works").tag(config=True)
    timeout_func = Any()
    shutdown_kernel = "immediate"

    @default("timeout_func")
    def _longer_for_given_cells(self):      # importing torch takes longer than an answer may
        return lambda cell: max(60, self.timeout) if is_locked(cell) and not is_grade(cell) else self.timeout

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        self.broken, self.started = "", time.monotonic()
        with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as room:
            self.room = Path(room).resolve()
            (self.room / "home").mkdir()
            return super().preprocess(nb, resources)

    def create_kernel_manager(self):
        km = super().create_kernel_manager()
        inside = walls(self.room, self.hidden)
        km.kernel_spec.argv = [*inside, sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        km.kernel_spec.interrupt_mode = "message"       # a signal would end the walls, not the loop
        km.connection_file = str(self.room / "kernel.json")
        if inside:                                      # no network: talk through files
            km.transport, km.ip = "ipc", str(self.room / "kernel")
        return km

    def start_new_kernel(self, **kwargs) -> None:
        home = str(self.room / "home")
        env = {k: os.environ[k] for k in PASSED_ON if k in os.environ}
        env |= {k: home for k in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "MPLCONFIGDIR", "IPYTHONDIR")}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        super().start_new_kernel(cwd=home, env=env | {"PYTHONWARNINGS": "ignore"}, **quiet, **kwargs)

    def preprocess_cell(self, cell: NotebookNode, resources: ResourcesDict, index: int):
        if cell.cell_type != "code":
            return cell, resources
        if time.monotonic() - self.started > self.total:
            self.broken = self.broken or f"more than {self.total} s for the whole notebook"
        try:
            if not self.broken:
                self.execute_cell(cell, index, store_history=True)
        except Exception as problem:                    # the kernel died, or drowned us in output
            self.broken = f"the notebook stopped before this: {str(problem).partition(chr(10))[0]}"
        if self.broken:
            cell.outputs = [new_output("error", ename="Stopped", evalue=self.broken, traceback=[self.broken])]
        if is_grade(cell):                              # nbgrader takes a warning for a failure
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        return cell, resources

    def on_cell_executed(self, **kwargs) -> None:
        reply = kwargs["execute_reply"]
        if not reply or reply["content"]["status"] not in ("ok", "error"):     # aborted: it never ran
            kwargs["execute_reply"] = {"content": {"status": "error", "ename": "Stopped", "traceback": [],
                                                   "evalue": "this cell never ran"}}
        super().on_cell_executed(**kwargs)
