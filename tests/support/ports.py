"""Ports for what has to be told one: programs that cannot say which port the system chose for them, and servers that come back on the
port that they had."""
import pathlib
import random
import socket

LOWEST = 10000


def free_port(address="127.0.0.1"):
    """One that nobody is given who takes any, neither to listen nor to call from: it stays free until it is used, and while its server is
    away."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for port in random.SystemRandom().sample(range(LOWEST, first), 100): # tests may have given others the same seed
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def free_address():
    return f"127.0.0.1:{free_port()}"
