"""The processes of a cluster on this machine, for deploy/local-cluster and the tests."""
import os


def running(pid_file, config):
    """The id of the node's process that PID_FILE names and that was started with CONFIG, while anything is left of it: one that
    was killed keeps its files, and the lock on its folder, for a moment after its memory is gone. None: it does not run."""
    try:
        with open(pid_file) as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            arguments = f.read()
        if arguments:
            return pid if config.encode() in arguments.split(b"\0") else None
        with open(f"/proc/{pid}/stat", "rb") as f:
            state = f.read().rpartition(b")")[2].split()[0]
        # A dead process that nobody waited for has closed its files, when its other threads have ended too.
        return None if state in (b"Z", b"X") and len(os.listdir(f"/proc/{pid}/task")) == 1 else pid
    except (OSError, ValueError):
        return None
