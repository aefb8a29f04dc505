"""Goal: a server that gets short of file descriptors says so to who asks for its health; one that has lost its listener by
running out of them ends, so that it is started again; one that is well is left alone."""
import resource

import grpc

from support.process import close_all, connect_many, descriptors, limit_descriptors
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import routing_pb2

CALL_S = 20
ROOM = 20


def health(server):
    return server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S)


def test_limit_is_raised(cluster, database):
    with Server(cluster.service_url(database)) as server:
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
        assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == hard
        assert server.events("server.started")[0]["descriptors_max"] == min(hard, 2**31 - 1)


def test_short_of_descriptors(cluster, database):
    with Server(cluster.service_url(database), "--self-probe-ms", "0") as server:
        assert health(server).status == routing_pb2.HEALTH_STATUS_HEALTHY
        limit_descriptors(server.process.pid, 10 * descriptors(server.process.pid))
        connections = connect_many(server.address, 8 * descriptors(server.process.pid))
        answer = wait_until(lambda: (lambda got: got if got.problems else None)(health(server)), "the server thinks it is well")
        assert answer.status == routing_pb2.HEALTH_STATUS_CRITICAL
        assert "file descriptors are in use, more than 80 %" in answer.problems[0]
        close_all(connections)
        wait_until(lambda: health(server).status == routing_pb2.HEALTH_STATUS_HEALTHY, "the server does not get well again")
        assert server.stop() == 0


def test_out_of_descriptors(cluster, database):
    with Server(cluster.service_url(database), "--self-probe-ms", "200") as server:
        health(server)
        limit_descriptors(server.process.pid, descriptors(server.process.pid) + ROOM)
        connections = connect_many(server.address, 4 * ROOM)
        assert server.wait() == 1
        close_all(connections)
        lines = server.events("listener.lost")
        assert len(lines) == 1 and lines[0]["error"] and lines[0]["level"] == "error"


def test_listener_stays_lost(cluster, database):
    """What the probe is for: without it a server that once ran out stays deaf to new connections, while old ones work."""
    with Server(cluster.service_url(database), "--self-probe-ms", "0") as server:
        health(server)
        limit_descriptors(server.process.pid, descriptors(server.process.pid) + ROOM)
        connections = connect_many(server.address, 4 * ROOM)
        wait_until(lambda: descriptors(server.process.pid) >= descriptors_allowed(server), "the server does not run out")
        close_all(connections)
        wait_until(lambda: descriptors(server.process.pid) < descriptors_allowed(server) - ROOM / 2, "descriptors do not come back")
        assert health(server).server_version # the old connection works
        try:
            grpc.channel_ready_future(server.channel()).result(timeout=3)
        except grpc.FutureTimeoutError:
            return
        raise AssertionError("the core has learnt to survive this: SECURITY.md and the self-probe can change")


def descriptors_allowed(server):
    return resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]


def test_well_is_left_alone(cluster, database):
    with Server(cluster.service_url(database), "--self-probe-ms", "20") as server:
        for _ in range(200):
            health(server)
        assert server.stop() == 0 and not server.events("listener.lost")
