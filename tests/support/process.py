"""What the kernel says about a process, and ways to press it."""
import os
import pathlib
import resource
import socket


def memory_bytes(pid, field="VmRSS"):
    """Resident memory; VmHWM: the most there ever was."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} of process {pid}")


def own_threads(pid):
    """How many threads have the name of the process, as those have that nobody has named: libraries name theirs."""
    names = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            names.append((task / "comm").read_text(encoding="utf-8"))
        except OSError: # it has ended
            pass
    return names.count(pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def limit_descriptors(pid, limit, for_good=True):
    """Not for good: the limit can be raised again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit if for_good else hard))


def connect_many(address, count):
    """Connections that say nothing; fewer when the server's queue is full."""
    host, port = address.rsplit(":", 1)
    connections = []
    for _ in range(count):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((host, int(port)))
        connections.append(connection)
    return connections


def close_all(connections):
    for connection in connections:
        connection.close()
