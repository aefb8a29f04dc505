"""Goal: settings that let nobody in by mistake; keys that change while the server runs; certificates that are services; tokens that
leadctl makes and shows; and a database role that cannot do more than it must."""
import collections
import json
import os
import subprocess
import threading
import time
import uuid

import grpc
import pytest

from support.certificates import Authority
from support.postgres import IS_LONG, LEADCTL, LEADROUTERD
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import leads_pb2, routing_pb2, routing_pb2_grpc
from support.tokens import AUDIENCE, PERSON, SERVICE, claims, encode, jwks, metadata, signed, token

PATIENCE_S = 60
DEADLINE_S = 20
PARTNER = "00000000-0000-4000-8000-000000000001"
HEALTH = routing_pb2.HealthRequest()


@pytest.fixture
def guarded(cluster, database, sql, tmp_path):
    keys = jwks(tmp_path / "keys.json")
    with Server(cluster.service_url(database), "--token-keys", str(keys), "--token-audience", AUDIENCE) as server:
        server.keys, server.sql = keys, sql
        yield server
        server.check_log()


def code(server, credentials):
    try:
        server.routing.Health(HEALTH, metadata=metadata(credentials), timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def change(path, **key):
    """Whole at every moment: a new file in the place of the old one."""
    new = path.with_suffix(".new")
    jwks(new, **key)
    os.replace(new, path)


def write_keys(path, *secrets):
    """A file with these keys, whole at every moment."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encode(secret), "kid": kid} for kid, secret in secrets]}))
    new.chmod(0o600)
    os.replace(new, path)


# --- Keys ---------------------------------------------------------------------------------------------------------------------


def test_keys_change_while_it_runs(guarded):
    old = token(uuid.uuid4(), SERVICE)
    assert code(guarded, old) == "OK" == code(guarded, old)
    change(guarded.keys, secret=b"n" * 32)
    wait_until(lambda: code(guarded, old) == "UNAUTHENTICATED", "the token is still good")


def test_keys_change_under_calls(guarded):
    """Callers of two keys, of which one comes and goes while they call: each call is answered by the keys before or those after, a token
    of the key that stays is always good, and that of a key that has gone is refused for good, also by what was remembered."""
    stays, goes = bytes(range(32)), b"n" * 32
    tokens = {which: [signed({"alg": "HS256", "kid": kid}, claims(uuid.uuid4(), SERVICE), secret) for _ in range(20)]
              for which, kid, secret in (("stays", "1", stays), ("goes", "2", goes))}
    codes = {"stays": collections.Counter(), "goes": collections.Counter()}
    is_over = threading.Event()

    def work(which):
        while not is_over.is_set():
            for one in tokens[which]:
                codes[which][code(guarded, one)] += 1
    write_keys(guarded.keys, ("1", stays))
    wait_until(lambda: code(guarded, tokens["stays"][0]) == "OK", "the key that stays is not taken")
    threads = [threading.Thread(target=work, args=[which]) for which in tokens for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3 if IS_LONG else 2):
            write_keys(guarded.keys, ("1", stays), ("2", goes))
            wait_until(lambda: code(guarded, tokens["goes"][0]) == "OK", "the new key is not taken")
            write_keys(guarded.keys, ("1", stays))
            wait_until(lambda: code(guarded, tokens["goes"][0]) == "UNAUTHENTICATED", "the key has not gone")
        assert {code(guarded, one) for one in tokens["goes"]} == {"UNAUTHENTICATED"}
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    assert set(codes["stays"]) == {"OK"} and set(codes["goes"]) == {"OK", "UNAUTHENTICATED"}


def test_broken_keys_change_nothing(guarded):
    guarded.keys.write_text("no keys")
    refused = guarded.wait_for("token.keys_refused")
    assert str(guarded.keys) in refused["error"]
    assert code(guarded, token(uuid.uuid4(), SERVICE)) == "OK"


def test_a_token_expires_although_it_is_remembered(guarded):
    def new_one():
        one = token(uuid.uuid4(), SERVICE, exp=int(time.time()) - 56) # within the minute that clocks may be apart
        return code(guarded, one) == "OK" and one
    short = wait_until(new_one, "no token is good")
    wait_until(lambda: code(guarded, short) == "UNAUTHENTICATED", "the token is still good")


def test_a_stream_ends_with_its_token(guarded):
    """Every kind of stream that asks for one, whether it has begun or says nothing; all at the same time."""
    def expiring(*role):
        return metadata(token(uuid.uuid4(), *role, exp=int(time.time()) - 56))
    is_over = threading.Event()

    def silence(*first):
        yield from first
        is_over.wait(PATIENCE_S)
    import_start = leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=PARTNER))
    reflect = guarded.channel().stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    guarded.sql(f"insert into workspaces (id, name) values ('{PARTNER}', 'Partner')")
    streams = [guarded.routing.RouteLeads(silence(), metadata=expiring(SERVICE), timeout=PATIENCE_S),
               guarded.leads.ImportLeads(silence(), metadata=expiring(SERVICE), timeout=PATIENCE_S),
               guarded.leads.ImportLeads(silence(import_start), metadata=expiring(SERVICE), timeout=PATIENCE_S),
               guarded.leads.ImportLeads(silence(), metadata=expiring(), timeout=PATIENCE_S),
               reflect(silence(), metadata=expiring(), timeout=PATIENCE_S)]
    for stream in streams:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert (caught.value.code().name, caught.value.details()) == ("UNAUTHENTICATED", "the caller's token has expired")
    is_over.set()


def test_a_stream_ends_when_its_key_goes(guarded):
    """Whatever kind it is, though its token is good for long; those of a key that stays go on, and what was broken off is continued."""
    stays, goes = ("1", bytes(range(32))), ("2", b"n" * 32)
    write_keys(guarded.keys, stays, goes)

    def of(key, role=SERVICE):
        return metadata(signed({"alg": "HS256", "kid": key[0]}, claims(PARTNER, role), key[1]))
    wait_until(lambda: code(guarded, of(goes)[0][1].split()[1]) == "OK", "the new key is not taken")
    guarded.sql(f"insert into workspaces (id, name) values ('{PARTNER}', 'Partner')")
    guarded.sql(f"insert into user_workspaces (user_id, workspace_id, role) values ('{PARTNER}', '{PARTNER}', 'member')")
    is_over = threading.Event()

    def silence(*first):
        yield from first
        is_over.wait(PATIENCE_S)

    def start(name, **more):
        return leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=PARTNER, fingerprint=name, **more))

    def route():
        yield routing_pb2.RouteLeadsRequest(index=1, lead=routing_pb2.RouteLeadRequest(
            lead_id=str(uuid.uuid4()), source_workspace_id=PARTNER))
        is_over.wait(PATIENCE_S)
        yield routing_pb2.RouteLeadsRequest(index=2)
    reflect = guarded.channel().stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    kept = guarded.routing.RouteLeads(route(), metadata=of(stays), timeout=PATIENCE_S)
    assert next(kept).index == 1
    imports = [guarded.leads.ImportLeads(silence(start(role)), metadata=of(goes, role), timeout=PATIENCE_S) for role in (SERVICE, PERSON)]
    for stream in imports:
        next(stream) # it has begun
    streams = [*imports,
               guarded.routing.RouteLeads(silence(), metadata=of(goes), timeout=PATIENCE_S),
               guarded.leads.ImportLeads(silence(), metadata=of(goes), timeout=PATIENCE_S),
               reflect(silence(), metadata=of(goes), timeout=PATIENCE_S)]
    write_keys(guarded.keys, stays)
    for stream in streams:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code().name == "UNAUTHENTICATED"
        assert caught.value.details() == "the key of the caller's token is no longer in use"
    is_over.set()
    assert [answer.index for answer in kept] == [2]
    again = guarded.leads.ImportLeads(iter([start(SERVICE, only_continue=True), leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]),
                                      metadata=of(stays), timeout=PATIENCE_S)
    assert next(again).started.is_continued and next(again).WhichOneof("part") == "import"


# --- leadctl ------------------------------------------------------------------------------------------------------------------


def leadctl(*words, **environment):
    return subprocess.run([LEADCTL, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S,
                          env={**os.environ, **environment})


@pytest.mark.parametrize("algorithm", [("ed25519",), ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), ("RSA",)], ids=lambda words: words[0])
def test_a_token_of_leadctl(cluster, database, tmp_path, algorithm):
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", *algorithm, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    made = leadctl("token", "--key", private, "--subject", uuid.uuid4(), "--audience", AUDIENCE, "--role", SERVICE)
    assert made.returncode == 0, made.stderr
    file = tmp_path / "token"
    file.write_text(made.stdout)
    refused = leadctl("health", "--token-file", file)
    assert (refused.returncode, "open to everybody" in refused.stderr) == (2, True)
    file.chmod(0o600)
    with Server(cluster.service_url(database), "--token-keys", str(public), "--token-audience", AUDIENCE) as server:
        assert leadctl("health", "--target", server.address, "--token-file", file).returncode == 0
        assert leadctl("health", "--target", server.address, LEADROUTER_TOKEN_FILE=str(file)).returncode == 0
        without = leadctl("health", "--target", server.address)
        assert (without.returncode, without.stderr) == (
            1, "leadctl: UNAUTHENTICATED: a token or the certificate of a service is needed\n")


@pytest.mark.parametrize("words, text", [
    (("token",), "leadctl: token needs --key FILE: private key"),
    (("token", "--key", "/proc/nothing", "--subject", PARTNER, "--audience", "a"),
     "leadctl: --key: could not open /proc/nothing: No such file"),
    (("token", "--key", "/dev/null", "--subject", PARTNER, "--audience", "a"), "leadctl: --key: /dev/null is not a file"),
    (("token", "--key", LEADCTL, "--subject", "me", "--audience", "a"), 'leadctl: --subject: "me" is not a UUID'),
    (("health", "--token-file", "/proc/nothing"), "leadctl: --token-file: could not open /proc/nothing: No such file"),
    (("health", "--token-file", "/dev/null"), "leadctl: --token-file: /dev/null is not a file"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_leadctl_says(words, text):
    done = leadctl(*words)
    assert done.returncode == 2 and done.stderr.startswith(text), done.stderr


# --- Certificates -------------------------------------------------------------------------------------------------------------


def secure_code(ca, address, name):
    credentials = grpc.ssl_channel_credentials(ca.file.read_bytes(), (ca.directory / f"{name}.key").read_bytes(),
                                               (ca.directory / f"{name}.pem").read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        try:
            routing_pb2_grpc.RoutingServiceStub(channel).Health(HEALTH, timeout=DEADLINE_S, wait_for_ready=True)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


@pytest.mark.parametrize("names, known, other", [("dns:x.example.com,uri:spiffe://example.com/crm", "OK", "UNAUTHENTICATED"),
                                                 ("dns:spiffe://example.com/crm", "UNAUTHENTICATED", "UNAUTHENTICATED"),
                                                 ("*", "OK", "OK")])
def test_certificates_that_are_services(cluster, database, tmp_path, names, known, other):
    """Served for other machines too: who may call is known."""
    ca = Authority(tmp_path)
    ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")
    ca.issue("crm", "URI:spiffe://example.com/crm", "clientAuth")
    ca.issue("other", "URI:spiffe://example.com/other", "clientAuth")
    with Server(cluster.service_url(database), "--tls-certificate", str(ca.directory / "server.pem"), "--tls-key",
                str(ca.directory / "server.key"), "--tls-client-ca", str(ca.file), "--service-names", names, listen="0.0.0.0:0") as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        assert (secure_code(ca, address, "crm"), secure_code(ca, address, "other")) == (known, other)


# --- Settings -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags, text", [
    (("--token-keys", "x"), "--token-keys and --token-audience go together"),
    (("--token-audience", "x"), "--token-keys and --token-audience go together"),
    (("--token-issuer", "x"), "--token-issuer is of no use without --token-keys"),
    (("--service-names", "x"), "--service-names is of no use without --tls-client-ca"),
    (("--listen", "0.0.0.0:0", "--tls-certificate", "x", "--tls-key", "x", "--no-client-certificates"),
     "--listen 0.0.0.0:0: other machines are served only with --token-keys or --service-names"),
])
def test_settings_that_say_too_little(flags, text):
    done = subprocess.run([LEADROUTERD, "serve", "--database", "x", *flags], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr.startswith(f"leadrouterd: {text}")) == (2, True), done.stderr


def test_keys_that_cannot_be_read(cluster, database, tmp_path):
    missing = tmp_path / "missing.json"
    with_keys = ("--token-keys", str(missing), "--token-audience", "x")
    done = subprocess.run([LEADROUTERD, "serve", "--database", cluster.service_url(database), *with_keys], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert done.returncode == 1 and f"{missing}: No such file" in done.stderr


def test_without_tokens_it_says_so(server):
    assert "anyone on this machine" in server.events("server.started")[0]["callers"]


# --- The role of the database -------------------------------------------------------------------------------------------------


def start(url, *flags):
    return subprocess.run([LEADROUTERD, "serve", "--listen", "127.0.0.1:0", "--database", url, *flags], capture_output=True, text=True,
                          timeout=PATIENCE_S)


# What makes the login dangerous, and what takes it back. Nobody else uses this process's cluster.
DANGERS = {
    "bypasses row security": ("alter role leadrouter_service bypassrls", "alter role leadrouter_service nobypassrls"),
    "may act as leadrouter_owner, the owner of the schema": ("grant leadrouter_owner to leadrouter_service",
                                           "revoke leadrouter_owner from leadrouter_service"),
    "may act as backend, which bypasses row security": (
        "create role backend bypassrls; create role team role leadrouter_service; grant backend to team",
        "drop role team; drop role backend"),
    "may act as leadrouter_owner, the owner of the schema:": ( # though nothing is inherited: SET ROLE is enough
        "create role team noinherit role leadrouter_service; grant leadrouter_owner to team", "drop role team"),
    "may act as leadrouter_owner, the owner of the schema: log in": ( # what is inherited as well
        "alter role leadrouter_service inherit; create role team inherit role leadrouter_service; grant leadrouter_owner to team",
        "drop role team; alter role leadrouter_service noinherit"),
    "may make itself a member of other roles": ("alter role leadrouter_service createrole", "alter role leadrouter_service nocreaterole"),
    "may act as hand, which may make itself a member of other roles": (
        "create role hand createrole role leadrouter_service", "drop role hand"),
    "may copy the whole database": ("alter role leadrouter_service replication", "alter role leadrouter_service noreplication"),
    "may act as pg_execute_server_program, which gets at files of the database's machine": (
        "grant pg_execute_server_program to leadrouter_service", "revoke pg_execute_server_program from leadrouter_service"),
    "may act as pg_database_owner, the owner of the database": (
        "do $$ begin execute format('alter database %I owner to leadrouter_service', current_database()); end $$",
        "do $$ begin execute format('alter database %I owner to postgres', current_database()); end $$"),
    "may act as chief, a superuser": ("create role chief superuser role leadrouter_service", "drop role chief"),
    "may act as team, the owner of public.user_workspaces": (
        "create role team role leadrouter_service; alter table user_workspaces owner to team",
        "alter table user_workspaces owner to leadrouter_owner; drop role team"),
}


@pytest.mark.parametrize("reason", DANGERS)
def test_roles_that_may_too_much(cluster, database, sql, reason):
    url = cluster.service_url(database)
    sql(DANGERS[reason][0])
    try:
        check_role(url, "leadrouter_service", reason)
    finally:
        sql(DANGERS[reason][1])


def test_a_superuser(cluster, database):
    check_role(cluster.url(database), "postgres", "is a superuser")


def check_role(url, role, reason):
    done = start(url)
    assert done.returncode == 1 and f"the database's role {role} {reason}" in done.stderr, done.stderr
    assert f"--allow-role {role}" in done.stderr
    assert start(url, "--allow-role", "leadrouter_owner").returncode == 1 # the login is to be named, not what it may become
    with Server(url, "--allow-role", role) as server:
        server.routing.Health(HEALTH, timeout=DEADLINE_S)
