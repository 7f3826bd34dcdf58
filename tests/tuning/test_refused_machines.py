"""What cannot be on many machines, with many seeds or in a zoo's file: one line, status 2, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import sqlalchemy as sa
from postgres import QUOTED, SECRET, Postgres

from sb3_course import compare, train, tune
from sb3_course.tuning.storage import open_storage

BRIEF = ["--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32"]
DOORS: dict[str, tuple[Any, list[str]]] = {
    "tune": (tune.main, [*BRIEF, "--algo", "reinforce", "--trials", "2", "--seeds", "1"]),
    "compare": (compare.main, [*BRIEF, "--algos", "reinforce", "ppo", "--trials", "2", "--seeds", "1"]),
    "worker": (tune.main, ["worker", "--study", "study"]),
    "train": (train.main, [*BRIEF, "--algo", "reinforce"]),
}
# The variable has the URL, and the URL a password.
SERVER, ASKED = ["--storage-env", "MY_STORAGE"], "postgresql+psycopg://guest:{secret}@"
UNUSABLE = "--storage: cannot be used: "

#: The door, the words, the URL in the variable, how the line begins, what else is in it.
REFUSED: dict[str, tuple[str, list[str], str, str, str]] = {
    "a wrong password": (
        "tune", SERVER, "postgresql+psycopg://guest:wrong{secret}@/postgres?host={host}", UNUSABLE,
        "password authentication failed"),
    "a wrong password of a worker": (
        "worker", SERVER, "postgresql+psycopg://guest:wrong{secret}@/postgres?host={host}", UNUSABLE,
        "password authentication failed"),
    "a port where nobody listens": ("tune", SERVER, ASKED + "127.0.0.1:1/studies", UNUSABLE, "connection failed"),
    "a host that is not there": ("compare", SERVER, ASKED + "no-such-host.invalid/studies", UNUSABLE, ""),
    "a port that is none": ("tune", SERVER, ASKED + "host:port/studies", UNUSABLE, ""),
    "a driver that is none": (
        "tune", SERVER, "postgresql+nothing://guest:{secret}@host/studies", UNUSABLE, "Can't load plugin"),
    "an option that is none": (
        "tune", SERVER, "postgresql+psycopg://host/studies?password={secret}&user=guest&connect_timeout=x", UNUSABLE,
        ""),
    "a database that is not there": (
        "tune", SERVER, ASKED + "/nothing?host={host}", UNUSABLE, 'database "nothing" does not exist'),
    "a schema that is not there": (
        "tune", SERVER, ASKED + "/postgres?host={host}&options=-csearch_path%3Dnowhere", UNUSABLE, "no schema"),
    "a schema of somebody else": (
        "tune", SERVER, ASKED + "/postgres?host={host}&options=-csearch_path%3Dtuner", UNUSABLE, "no schema"),
    "a database without the right to make tables": (
        "tune", SERVER, ASKED + "/postgres?host={host}", UNUSABLE, "permission denied for schema public"),
    "a database without the right to write": (
        "tune", SERVER, ASKED + "/postgres?host={host}&options=-csearch_path%3Dlooked_at", UNUSABLE,
        "permission denied for table"),
    "a schema version of the future": (
        "tune", SERVER, "postgresql+psycopg://postgres:{secret}@/postgres?host={host}&options=-csearch_path%3Dnewer",
        UNUSABLE, "no longer compatible with the table schema"),
    "a schema version of the past": (
        "worker", SERVER, "postgresql+psycopg://postgres:{secret}@/postgres?host={host}&options=-csearch_path%3Dolder",
        UNUSABLE, "no longer compatible with the table schema"),
    "a proxy that is not there": ("tune", SERVER, "grpc://localhost:1", UNUSABLE, "timeout"),
    "a proxy without a port": ("tune", SERVER, "grpc://localhost", UNUSABLE, "is not grpc://HOST:PORT"),
    "a variable that is not set": ("worker", ["--storage-env", "NO_SUCH_VARIABLE"], "", "--storage-env: this env", ""),
    "two storages": ("tune", [*SERVER, "--storage", "a.db"], ASKED + "host/x", "--storage-env: is given beside", ""),
    "a wait that is none": ("tune", ["--storage-wait", "ever"], "", "--storage-wait: is not an integer", ""),
    "no workers of tune": ("tune", ["--workers", "0"], "", "--workers: is out of bounds", ""),
    "no workers of compare": ("compare", ["--workers", "0"], "", "--workers: is out of bounds", ""),
    "no workers of many seeds": ("train", ["--seeds", "2", "--workers", "0"], "", "--workers: is out of bounds", ""),
    "no tasks": ("tune", ["--launcher", "ray", "--workers", "0"], "", "--workers: is out of bounds", ""),
    "a launcher that is none": ("tune", ["--launcher", "rey"], "", "--launcher: unknown; did you mean 'ray'", ""),
    "GPUs without Ray": ("compare", ["--gpus", "1"], "", "--gpus: is for Ray", ""),
    "GPUs that are no number": ("tune", ["--launcher", "ray", "--gpus", "many"], "", "--gpus: is no number of", ""),
    "an address without Ray": ("tune", ["--ray-address", "auto"], "", "--ray-address: is for Ray", ""),
    "an address that is none": (
        "tune", ["--launcher", "ray", "--ray-address", "somewhere"], "", "--ray-address: is no address", ""),
    "an address where nobody is": (
        "tune", ["--launcher", "ray", "--ray-address", "127.0.0.1:1"], "", "--ray-address: nobody answers there", ""),
    "an address of no host": (
        "compare", ["--launcher", "ray", "--ray-address", "no-such-host.invalid:6379"], "",
        "--ray-address: nobody answers there", ""),
    "no cluster here": ("train", ["--seeds", "2", "--launcher", "ray"], "", "--ray-address: no cluster is there", ""),
    "seeds that collide": ("train", ["--seeds", "3", "7", "3"], "", "--seeds: collide: one is given twice", "3"),
    "seeds beyond the largest": (
        "train", ["--seed", "2147483640", "--seeds", "20"], "", "--seeds: go beyond the largest seed", ""),
    "a first seed and a list": ("train", ["--seed", "1", "--seeds", "3", "7"], "", "--seed: cannot be combined", ""),
    "no seeds": ("train", ["--seeds", "0"], "", "--seeds: is out of bounds", ""),
    "many seeds that are tracked": ("train", ["--seeds", "2", "--track"], "", "--track: cannot be combined", ""),
    "a zoo's file with an unknown key": (
        "train", ["-conf", "{zoo}/unknown.yml"], "", "n_timestep: unknown key", "did you mean 'n_timesteps'"),
    "a zoo's file with a key twice": ("train", ["-conf", "{zoo}/twice.yml"], "", "{zoo}/twice.yml: ", "gamma"),
    "a zoo's file that is not there": ("train", ["-conf", "{zoo}/none.yml"], "", "{zoo}/none.yml: cannot read", ""),
    "a model to start from that is not there": (
        "train", ["-i", "{zoo}/none.zip"], "", "--trained-agent: no such file", "none.zip"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Postgres:
    """Return the server, with studies that may be looked at, and with those of other versions of Optuna."""
    for schema in ("looked_at", "newer", "older"):
        postgres.sql(f"CREATE SCHEMA {schema}")
        open_storage(f"postgresql+psycopg://postgres@/postgres?host={postgres.data}&options=-csearch_path%3D{schema}")
    postgres.sql(
        "GRANT USAGE ON SCHEMA looked_at TO guest", "GRANT SELECT ON ALL TABLES IN SCHEMA looked_at TO guest",
        "UPDATE newer.alembic_version SET version_num = 'v99.0.0.a'",
        "UPDATE older.alembic_version SET version_num = 'v2.6.0.a'",
    )  # fmt: skip
    return postgres


def rows(server: Postgres) -> list[Any]:
    """Return all tables on the server, and what is in those that a refused command could write to."""
    engine = sa.create_engine(f"postgresql+psycopg://postgres@/postgres?host={server.data}", poolclass=sa.pool.NullPool)
    found = []
    with engine.connect() as connection:
        for query in (
            "SELECT schemaname, tablename FROM pg_tables ORDER BY 1, 2",
            "SELECT study_name FROM looked_at.studies",
            "SELECT version_num FROM newer.alembic_version UNION ALL SELECT version_num FROM older.alembic_version",
        ):
            found += [tuple(row) for row in connection.execute(sa.text(query))]
    return found


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a zoo's hyperparameter files that are wrong."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "unknown.yml").write_text("default:\n  n_timestep: 64\n  policy: MlpPolicy\n")
    (folder / "twice.yml").write_text("default:\n  gamma: 0.9\n  gamma: 0.99\n")
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_without_a_password_and_nothing_written(
    name: str, server: Postgres, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def init(*_: Any, **__: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    door, words, url, start, also = REFUSED[name]
    main, line = DOORS[door]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sb3_course.tuning.storage._CONNECT", 0.2)
    monkeypatch.setattr(ray, "init", init)  # another test, or a person, may have one on this machine
    monkeypatch.setenv("MY_STORAGE", url.format(secret=QUOTED, host=server.data))
    before = rows(server)
    assert main([*line, *(word.format(zoo=zoo) for word in words)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {start.format(zoo=zoo)}"), told.err
    assert also in told.err
    assert (told.err.count("\n"), told.out) == (1, "")
    assert SECRET not in told.err
    assert QUOTED not in told.err
    assert list(tmp_path.iterdir()) == []
    assert rows(server) == before
    assert not ray.is_initialized()
