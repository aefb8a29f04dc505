"""Jobs by hand on a server that also runs them by itself: some every half minute, so that one may be at it at this moment."""
import grpc

from support.product_cluster import wait_until

AT_IT = "a server runs the job at this moment"
CALL_S = 25


def run_job(maintenance, name, metadata=None):
    """The job as RunJob answers it; waits for a run of the server's own to end."""
    from support.stubs import maintenance_pb2 # makes the stubs: only where they are needed
    answers = []

    def has_run():
        try:
            answers.append(maintenance.RunJob(maintenance_pb2.RunJobRequest(name=name), timeout=CALL_S, metadata=metadata))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ABORTED or error.details() != AT_IT:
                raise
        return answers
    wait_until(has_run, f"{name} does not end")
    return answers[0].job


def when_nobody_is_at_it(run):
    """The finished process that `run` gives, which runs commands of leadctl, once no job that it runs was under way already."""
    done = []

    def is_done():
        done.append(run())
        return done[-1].returncode == 0 or AT_IT not in done[-1].stdout + done[-1].stderr
    wait_until(is_done, "the job does not end")
    return done[-1]
