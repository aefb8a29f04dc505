"""Tokens as an issuer makes them, and as an attacker does: HS256 by the standard library, every part free to be wrong."""
import base64
import hashlib
import hmac
import json
import time

AUDIENCE = "leadrouter"
SECRET = bytes(range(32))
PERSON, SERVICE = "authenticated", "service_role"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwks(path, secret=SECRET, **members):
    """Writes a file with the secret as its one key; its path."""
    path.write_text(json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encode(secret), **members}]}))
    path.chmod(0o600)
    return path


def signed(header, payload, secret=SECRET):
    """`header` and `payload` are JSON text, or what becomes it."""
    text = ".".join(encode((part if isinstance(part, str) else json.dumps(part)).encode()) for part in (header, payload))
    return text + "." + encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def claims(subject, role=PERSON, **more):
    return {"sub": str(subject), "role": role, "aud": AUDIENCE, "exp": int(time.time()) + 600, **more}


def token(subject, role=PERSON, **more):
    return signed({"alg": "HS256", "typ": "JWT"}, claims(subject, role, **more))


def metadata(token):
    return () if token is None else (("authorization", f"Bearer {token}"),)
