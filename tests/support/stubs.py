"""The Python stubs of proto/, generated once per process with protoc: what a caller in another language would do.

`from support.stubs import leads_pb2, leads_pb2_grpc, routing_pb2, routing_pb2_grpc`
"""
import atexit
import importlib
import shutil
import subprocess
import sys
import tempfile

from support.postgres import ROOT

PLUGIN = "/usr/bin/grpc_python_plugin"


def _generate():
    directory = tempfile.mkdtemp(prefix="leadrouter-stubs-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    protos = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(["protoc", f"--proto_path={ROOT / 'proto'}", "--proto_path=/usr/include", f"--python_out={directory}",
                    f"--plugin=protoc-gen-grpc_python={PLUGIN}", f"--grpc_python_out={directory}", *protos], check=True)
    sys.path.insert(0, directory)


_generate()
leads_pb2 = importlib.import_module("leadrouter.v1.leads_pb2")
leads_pb2_grpc = importlib.import_module("leadrouter.v1.leads_pb2_grpc")
routing_pb2 = importlib.import_module("leadrouter.v1.routing_pb2")
routing_pb2_grpc = importlib.import_module("leadrouter.v1.routing_pb2_grpc")
rules_pb2 = importlib.import_module("leadrouter.v1.rules_pb2")
rules_pb2_grpc = importlib.import_module("leadrouter.v1.rules_pb2_grpc")
maintenance_pb2 = importlib.import_module("leadrouter.v1.maintenance_pb2")
maintenance_pb2_grpc = importlib.import_module("leadrouter.v1.maintenance_pb2_grpc")
workspaces_pb2 = importlib.import_module("leadrouter.v1.workspaces_pb2")
workspaces_pb2_grpc = importlib.import_module("leadrouter.v1.workspaces_pb2_grpc")
privacy_pb2 = importlib.import_module("leadrouter.v1.privacy_pb2")
