"""Certificates for tests, made with the openssl command in a directory of their own."""
import os
import pathlib
import subprocess


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Authority:
    """A CA in a directory: `file` is its certificate; issue() makes others."""

    def __init__(self, directory, name="ca"):
        self.directory = pathlib.Path(directory)
        self.file = self.directory / f"{name}.pem"
        self.key = self.directory / f"{name}.key"
        self.serial = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
                "-subj", f"/CN={name}", "-keyout", self.key,
                "-out", self.file)

    def issue(self, name, names, usage, days=2):
        """NAME.pem and NAME.key, replaced at once each; returns both paths. `days` below zero: expired."""
        self.serial += 1
        request, extensions, made, key = (self.directory / f"{name}.{ending}" for ending in ("csr", "ext", "new", "newkey"))
        extensions.write_text(f"basicConstraints=critical,CA:FALSE\nextendedKeyUsage={usage}\nsubjectAltName={names}\n", encoding="utf-8")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-days", days, "-set_serial", self.serial,
                "-extfile", extensions,
                "-out", made)
        os.rename(made, self.directory / f"{name}.pem")
        os.rename(key, self.directory / f"{name}.key")
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"
