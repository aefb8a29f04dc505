"""What the kernel says about a process."""
import os
import pathlib


def memory_bytes(pid, field="VmRSS"):
    """Resident memory; VmHWM: the most there ever was."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} of process {pid}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
