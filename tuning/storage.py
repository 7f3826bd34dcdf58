"""The storage of studies: Optuna's own, patient with its server, and giving out no trial beyond a budget."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sb3_course.config.errors import InputError
from sb3_course.config.secrets import safe_url, without_passwords
from sb3_course.tuning.optuna_inside import database
from sb3_course.tuning.patience import PATIENCE, Patience, StorageGoneError, is_full

_LOCKED = 60.0  # seconds that SQLite waits for another writer
_CONNECT = 10.0  # seconds until a proxy is said not to be there


class NoTicketError(Exception):
    """Every trial of the budget is taken."""


class StudyStorage(BaseStorage):
    """A storage of Optuna's behind its documented interface: each call is tried again while the server is away.

    :param inner: Optuna's
    :param url: what opens it, with its password
    :param may_create: whether `Study.ask` may make a trial where none is waiting; False for the workers of a budget
    :param patience: what waits
    """

    def __init__(self, inner: BaseStorage, url: str, may_create: bool, patience: Patience) -> None:
        self.inner, self.url, self.may_create, self.patience = inner, url, may_create, patience

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial; one without a template is `Study.ask` that has found none waiting.

        :raises NoTicketError: where it may not
        """
        if template_trial is None and not self.may_create:
            raise NoTicketError
        made: int = self.patience(lambda: self.inner.create_new_trial(study_id, template_trial))
        return made


def _delegated(name: str) -> Callable[..., Any]:
    def call(self: StudyStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience(lambda: getattr(self.inner, name)(*args, **kwargs))

    call.__name__, call.__doc__ = name, getattr(BaseStorage, name).__doc__
    return call


for _name in vars(BaseStorage):
    if not _name.startswith("_") and _name not in vars(StudyStorage):
        setattr(StudyStorage, _name, _delegated(_name))
_made: Any = StudyStorage  # its methods are made above, which mypy does not see
abc.update_abstractmethods(_made)


def impatient(storage: BaseStorage) -> BaseStorage:
    """Return the storage that fails at once when its server is away, for what will be tried again anyway."""
    return storage.inner if isinstance(storage, StudyStorage) else storage


def open_storage(url: str, may_create: bool = True, seconds: float = PATIENCE, wait: bool = False) -> StudyStorage:
    """Return the storage at a URL, its tables made where they are missing.

    :param url: `sqlite:///file.db`, `postgresql+psycopg://...`, `grpc://host:port` (a proxy of Optuna's), or the path
        of an SQLite file
    :param may_create: as in `StudyStorage`
    :param seconds: how long to wait, in the middle of the work, for a server that goes away
    :param wait: whether to wait as long for a server that is not there now, and quietly, as a command's own workers do;
        one that is there and has no connection to give is always waited for
    :raises InputError: when it cannot be opened or is no database of Optuna's
    :raises StorageGoneError: when `wait` was in vain
    """
    full = storage_url(url)
    patience = Patience(safe_url(full), seconds, quiet=wait)
    try:
        inner = patience(lambda: _opened(full), None if wait else is_full)
        opened: StudyStorage = _made(inner, full, may_create, patience)
        return opened
    except (sa.exc.SQLAlchemyError, StorageInternalError, RuntimeError, ImportError, OSError, ValueError) as error:
        if isinstance(error, StorageGoneError):
            raise
        raise unusable(full, error) from None


def _opened(url: str) -> BaseStorage:
    if url.startswith("grpc://"):
        return _proxy(url)
    _refuse_foreign_tables(url)
    sqlite = sa.engine.make_url(url).get_backend_name() == "sqlite"
    # A server has only so many connections, and a new one costs it ten times what a question does.
    return database(url, {"connect_args": {"timeout": _LOCKED}} if sqlite else {"pool_size": 1, "max_overflow": -1})


def _proxy(url: str) -> BaseStorage:
    import warnings

    import optuna

    host, colon, port = url.removeprefix("grpc://").rstrip("/").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ValueError("is not grpc://HOST:PORT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=_CONNECT)
    return proxy


def _refuse_foreign_tables(url: str) -> None:
    engine = sa.create_engine(url)
    try:
        names = set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "studies" in names and "version_info" not in names:
        raise RuntimeError("its table 'studies' is another program's")


def unusable(url: str, error: Exception) -> InputError:
    """Return the refusal of a storage that `error` came from."""
    cause: Any = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    cause = getattr(cause, "orig", None) or cause
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    want = 'its driver; of PostgreSQL: pip install "sb3_course[postgres]"'
    want = want if isinstance(cause, ImportError) else "a writable database"
    return InputError("--storage", f"cannot be used: {without_passwords(reason, url)}", safe_url(url), want)


def storage_url(url: str) -> str:
    """Return a URL for what may be a path.

    :raises InputError: for what is neither
    """
    if not url.strip():
        raise InputError("--storage", "is empty", url, "sqlite:///file.db or another SQLAlchemy URL")
    if "://" not in url:
        if Path(url).is_dir():
            raise InputError("--storage", "is a folder", url, "the path of a file")
        return f"sqlite:///{url}"
    return url
